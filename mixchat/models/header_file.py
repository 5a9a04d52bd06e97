"""Reads the header of a model file on this machine.

Knows how much of a file to read and what is no model file at all; refuses to know the format, which is `gguf`'s.
"""

import stat
from pathlib import Path

from mixchat.errors import BadModel, NotFound, TruncatedHeader
from mixchat.gguf.header import Header, parse_header

FIRST_READ = 8 << 20
LAST_READ = 64 << 20
_AGAIN = "Fetch the file again."


def read_header(path: Path) -> Header:
    """Read a model file's header, and check that all of its tensors lie inside the file.

    Raises:
        NotFound: There is no such file, or it may not be read.
        BadModel: It is no GGUF file, damaged, incomplete, or not even a regular file.
    """
    size = _size(path)
    try:
        header = _parse(path, size)
    except OSError as exc:
        raise unreadable(path, exc) from exc
    except TruncatedHeader as exc:
        why = "the file is incomplete" if size <= LAST_READ else f"its header exceeds {LAST_READ >> 20} MiB"
        raise BadModel(f"{path}: {why}.", _AGAIN) from exc
    except BadModel as exc:
        raise type(exc)(f"{path}: {exc.message}", exc.hint) from exc
    if header.tensors and header.file_bytes > size:
        raise BadModel(f"{path}: the file is incomplete: {size} of {header.file_bytes} bytes are there.", _AGAIN)
    return header


def _size(path: Path) -> int:
    try:
        status = path.stat()
    except (OSError, ValueError) as exc:
        raise unreadable(path, exc) from exc
    if not stat.S_ISREG(status.st_mode):
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "pipe or device"
        raise BadModel(f"{path} is a {kind}, not a model file.", "Give the path of a .gguf file.")
    if status.st_size == 0:
        raise BadModel(f"{path} is empty.", _AGAIN)
    return status.st_size


def _parse(path: Path, size: int) -> Header:
    """Read 8 MiB and double while the header goes on; real headers end at 1 to 2 MB."""
    with path.open("rb") as file:
        data = file.read(FIRST_READ)
        while True:
            try:
                return parse_header(data)
            except TruncatedHeader:
                more = file.read(len(data)) if len(data) < min(size, LAST_READ) else b""
                if not more:
                    raise
                data += more


def unreadable(path: Path, exc: Exception) -> NotFound:
    """The error of a file that is not there or may not be read."""
    why = "does not exist" if isinstance(exc, FileNotFoundError) else f"cannot be read: {_reason(exc)}"
    return NotFound(f"{path} {why}.", "Check the path and its permissions, or try: mixchat chat demo")


def _reason(exc: Exception) -> str:
    return exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc).rstrip(".")
