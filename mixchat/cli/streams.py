"""What a command gets on stdin, and standard streams that are closed.

Knows descriptors, pipes and terminals; refuses to know what the text is for.
"""

import os
import select
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mixchat.chat.inputs import decode_text
from mixchat.errors import NotFound, UsageError

MAX_INPUT: Final = 64 * 2**20
_PATIENCE: Final = 1.0
_READ: Final = 2**20
_TOO_LONG: Final = "No model's context holds that much; pipe a part of it."


def prepare_streams() -> None:
    """Put the null device in the place of closed standard streams.

    A closed stdin is empty, a closed stdout cannot be written (its stand-in is open for reading only), and what goes
    to a closed stderr is lost.
    """
    for name, mode, flags in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def piped_text(on_wait: Callable[[], None]) -> str | None:
    """All of stdin as text; None when it is a terminal.

    Args:
        on_wait: Called once when nothing has come for a second.

    Raises:
        UsageError: It is binary, or more than 64 MiB.
    """
    if sys.stdin.isatty():
        return None
    descriptor = sys.stdin.fileno()
    wait_for_input(descriptor, on_wait)
    return decode_text(_read_all(descriptor), "stdin")


def wait_for_input(descriptor: int, on_wait: Callable[[], None]) -> None:
    """Wait for the first byte, for a second; `on_wait` is called when it has not come by then."""
    ready, _write, _error = select.select([descriptor], [], [], _PATIENCE)
    if not ready:
        on_wait()


def file_text(path: Path) -> str:
    """A file's text.

    Raises:
        NotFound: It is not there or cannot be read.
        UsageError: It is binary, a device, or more than 64 MiB.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise UsageError(f"{path} is a folder.", "Give the path of a text file.")
            data = _read_all(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror or error}.", "Check the path.") from error
    return decode_text(data, str(path))


def _read_all(descriptor: int) -> bytes:
    data = bytearray()
    while chunk := os.read(descriptor, _READ):
        data += chunk
        if len(data) > MAX_INPUT:
            raise UsageError(f"The input has more than {MAX_INPUT // 2**20} MiB.", _TOO_LONG)
    return bytes(data)
