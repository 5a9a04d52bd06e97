"""Files that a person named for something to be written to.

Knows what may be there already: nothing, a file, a link to one, a device, a pipe; refuses to know what is written.
"""

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from mixchat.errors import OutputError
from mixchat.store.atomic import write_atomic, write_error

_HINT: Final = "Make it first, or give another name."


def check_output(path: Path) -> None:
    """Refuse a path that nothing could be written to, before there is anything to write.

    Raises:
        OutputError: It is a folder, it would be in none, or permissions are missing.
    """
    folder = _behind_links(path).parent
    # Not Path's own: it raises where permissions are missing for a look.
    if os.path.isdir(path):  # noqa: PTH112
        raise OutputError(f"{path} is a folder.", "Give the name of a file.")
    if not _is_stream(path) and not os.path.isdir(folder):  # noqa: PTH112
        raise OutputError(f"There is no folder {folder}.", _HINT)
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):  # noqa: PTH110
        raise OutputError(f"{path} could not be written: no permission.", "Give another name.")


def write_output(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file whole or not at all, behind a link that is there its target; into a device or a pipe as it is.

    Args:
        path: Where.
        data: What.
        mode: The most permissions that it has in the end; a file that is there and has fewer keeps them so.

    Raises:
        OutputError: It could not be written; what was in a file is kept.
    """
    check_output(path)
    if not _is_stream(path):
        with suppress(OSError):
            mode &= stat.S_IMODE(path.stat().st_mode)
        write_atomic(_behind_links(path), data, mode)
        return
    try:
        with path.open("ab", buffering=0) as stream:
            stream.write(data)
    except OSError as exc:
        raise write_error(path, exc) from exc


def _behind_links(path: Path) -> Path:
    """Where a write goes; unlike Path.resolve, without an error for links in a circle."""
    return Path(os.path.realpath(path))


def _is_stream(path: Path) -> bool:
    """Whether it is something else than a file, or the file that stdout or stderr goes to."""
    try:
        there = path.stat()
        return not stat.S_ISREG(there.st_mode) or any(
            os.path.samestat(there, os.fstat(stream.fileno())) for stream in (sys.stdout, sys.stderr)
        )
    except (OSError, ValueError, AttributeError):
        return False
