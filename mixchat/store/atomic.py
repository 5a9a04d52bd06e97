"""Files that are whole or not there.

Knows how to replace a file so that a reader, a crash or a full disk finds the old content or the new, never a mix;
refuses to know what the content means.
"""

import errno
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mixchat.errors import OutputError

_OWN_FILES = "/proc/self/fd"
_SPACE = "Free some space, then run the command again."
_PERMISSIONS = "Check the permissions of its folder, then run the command again."
_NAME = "Make its folder first, or give another name."
_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _SPACE),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG), _NAME),
}


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file's content.

    Raises:
        OutputError: It could not be written; the old content is kept.
    """
    with atomic_file(path, mode) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path, mode: int = 0o600, *, nameless: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes its place at `path` when the block ends well, and vanishes when it does not.

    The new content is private (0600) until it is complete. An OSError inside the block counts as a failed write,
    so translate errors of reading before they get here. The file may be read back by its descriptor (`os.pread`).

    Args:
        path: Where it takes its place.
        mode: Its permissions in the end.
        nameless: Where the system can (Linux, most file systems), give the file a name only when it is complete, so
            that not even a killed process leaves anything: for files that are large.

    Raises:
        OutputError: It could not be written; what was at `path` is kept. (When only the last step fails, the sync of
            the folder, the new content is there and may not outlive a power cut.)
    """
    temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(6)}.tmp")
    try:
        with _create(temporary, nameless=nameless) as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            _give_name(file, temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise write_error(path, exc) from exc
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> OutputError:
    """Why a file could not be written, and what to do."""
    message = f"{path} could not be written: {error.strerror or error}."
    return OutputError(message, _HINTS.get(error.errno or 0, _PERMISSIONS))


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left; call it only while holding the lock that guards `path`."""
    for leftover in path.parent.glob(f"{glob.escape(_prefix(path))}*.tmp"):
        with suppress(OSError):
            leftover.unlink()


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _create(path: Path, *, nameless: bool) -> BinaryIO:
    if nameless and os.path.isdir(_OWN_FILES):  # noqa: PTH112 - no exception of its own
        with suppress(OSError, AttributeError):
            return os.fdopen(os.open(path.parent, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600), "wb")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "wb")


def _give_name(file: BinaryIO, path: Path) -> None:
    """Name a file that has none; see O_TMPFILE in open(2)."""
    if not os.fstat(file.fileno()).st_nlink:
        # Python follows the link only when a folder's descriptor is given too, which an absolute path ignores.
        os.link(f"{_OWN_FILES}/{file.fileno()}", path, src_dir_fd=file.fileno(), follow_symlinks=True)


def unlink(path: Path) -> bool:
    """Remove a file; whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make the rename last; without it a power cut can undo it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
