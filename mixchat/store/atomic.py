"""Files that are whole or not there.

Knows how to replace a file so that a reader, a crash or a full disk finds the old content or the new, never a mix;
refuses to know what the content means.
"""

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mixchat.errors import OutputError


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file's content.

    Raises:
        OutputError: It could not be written; the old content is kept.
    """
    with atomic_file(path, mode) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Open a file that takes its place at `path` when the block ends well, and vanishes when it does not.

    The new content is private (0600) until it is complete. An OSError inside the block counts as a failed write,
    so translate errors of reading before they get here.

    Raises:
        OutputError: It could not be written; what was at `path` is kept. (When only the last step fails, the sync of
            the folder, the new content is there and may not outlive a power cut.)
    """
    temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(6)}.tmp")
    try:
        with _create(temporary) as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as exc:
        raise OutputError(
            f"{path} could not be written: {exc.strerror or exc}.",
            "Free some space or check the permissions of its folder, then run the command again.",
        ) from exc
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left; call it only while holding the lock that guards `path`."""
    for leftover in path.parent.glob(f"{glob.escape(_prefix(path))}*.tmp"):
        with suppress(OSError):
            leftover.unlink()


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _create(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "wb")


def _sync_folder(folder: Path) -> None:
    """Make the rename last; without it a power cut can undo it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
