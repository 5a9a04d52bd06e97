"""Large files read, copied and hashed in pieces.

Knows how to keep memory small and both the disk and a core busy; refuses to know what the bytes mean. Hashing runs in
a thread of its own beside reading and writing, since both let Python's lock go.
"""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import BinaryIO, TypeVar

from mixchat.errors import BadModel, OutputError

E = TypeVar("E")

PIECE = 1 << 20
"""Bytes of one piece: few enough that what was read is hashed and written from the processor's cache."""
RESERVE = 64 << 20
"""Bytes of a disk that are left free."""


@dataclass(frozen=True, slots=True)
class Copying:
    """Bytes written of all that will be."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Checking:
    """Bytes read and hashed of all that will be."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file in bytes; `path` is what an error calls the file."""

    path: Path
    start: int
    nbytes: int


def hashed(file: BinaryIO, span: Span, out: BinaryIO | None = None) -> Generator[int, None, str]:
    """Read a stretch of a file, yielding the bytes of each piece; returns its sha256.

    Args:
        file: Read by its descriptor; its position does not matter.
        span: The stretch.
        out: Takes a copy.

    Raises:
        BadModel: It cannot be read, or ends early.
        OSError: `out` cannot be written.
    """
    sha256 = hashlib.sha256()
    running: Future[None] | None = None
    with ThreadPoolExecutor(1) as pool:
        for piece in _pieces(file, span):
            if running is not None:
                running.result()
            running = pool.submit(sha256.update, piece)
            if out is not None:
                out.write(piece)
            yield len(piece)
    return sha256.hexdigest()


def counted(
    pieces: Generator[int, None, str], event: Callable[[int, int], E], done: int, total: int
) -> Generator[E, None, str]:
    """Turn the sizes of pieces into events that count them from `done` on; returns the hash."""
    while True:
        try:
            done += next(pieces)
        except StopIteration as end:
            return str(end.value)
        yield event(done, total)


def whole(path: Path) -> Span:
    """All of a file as it is now.

    Raises:
        BadModel: It is not there.
    """
    try:
        return Span(path, 0, path.stat().st_size)
    except OSError as exc:
        raise _unread(path, exc) from exc


def open_model_file(path: Path) -> BinaryIO:
    """Open a file to read.

    Raises:
        BadModel: It is not there, or may not be read.
    """
    try:
        return path.open("rb", buffering=0)
    except OSError as exc:
        raise _unread(path, exc) from exc


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        OutputError: With the bytes that are missing.
    """
    try:
        status = os.statvfs(folder)
    except OSError as exc:
        raise OutputError(f"{folder} cannot be written to: {exc.strerror or exc}.", "Check the path.") from exc
    free = status.f_bavail * status.f_frsize
    if free < needed + RESERVE:
        raise OutputError(
            f"The disk of {folder} is too full: {needed:,} bytes are needed (and {RESERVE:,} kept free), "
            f"{free:,} are free.",
            f"Free {needed + RESERVE - free:,} bytes, or write to another disk.",
        )


def _pieces(file: BinaryIO, span: Span) -> Iterator[memoryview]:
    """Read piece by piece into two buffers in turn: a piece may be used until the one after the next is asked for."""
    size, done = min(PIECE, span.nbytes), 0
    for buffer in cycle((memoryview(bytearray(size)), memoryview(bytearray(size)))):
        if done == span.nbytes:
            return
        try:
            count = os.preadv(file.fileno(), [buffer[: span.nbytes - done]], span.start + done)
        except OSError as exc:
            raise _unread(span.path, exc) from exc
        if not count:
            raise BadModel(f"{span.path} became shorter while it was read.", "Run the command again.")
        done += count
        yield buffer[:count]


def _unread(path: Path, exc: OSError) -> BadModel:
    return BadModel(f"{path} cannot be read: {exc.strerror or exc}.", "Check the disk, or fetch the file again.")
