"""Lines of a pipe, as they come.

Knows bytes and line ends; refuses to know what a line says. However long the input and its lines are, little of it is
in memory.
"""

import codecs
import os
import select
from collections import deque
from collections.abc import Callable
from typing import Final

from mixchat.cli.streams import MAX_INPUT, wait_for_input
from mixchat.errors import UsageError

LONGEST: Final = 4 * 2**20
"""Bytes of a line; of a longer one only so many and one more are given."""
_READ: Final = 2**16
_WIDE: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


class Lines:
    """The lines of a descriptor, without their ends.

    Args:
        descriptor: To read from.
        on_wait: Called once when nothing has come for a second.
    """

    def __init__(self, descriptor: int, on_wait: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._on_wait: Callable[[], None] | None = on_wait
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._behind = 0
        self._ended = False

    def take(self, *, wait: bool) -> bytes | None:
        """The next line; None at the end, and without `wait` also where none is whole yet.

        Raises:
            UsageError: It is UTF-16 or UTF-32, whose line ends are others; or a line does not come to an end.
        """
        while not self._lines and not self._ended and (wait or self._has_come()):
            self._read()
        return self._lines.popleft() if self._lines else None

    def _has_come(self) -> bool:
        return bool(select.select([self._descriptor], [], [], 0)[0])

    def _read(self) -> None:
        first, self._on_wait = self._on_wait, None
        if first is not None:
            wait_for_input(self._descriptor, first)
        chunk = os.read(self._descriptor, _READ)
        if first is not None and chunk.startswith(_WIDE):
            raise UsageError("--each-line takes UTF-8; stdin is UTF-16 or UTF-32.", "Convert it: iconv -t UTF-8")
        *lines, last = chunk.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            self._rest = b""
        self._behind = (0 if lines else self._behind) + len(last)
        if self._behind > MAX_INPUT:
            raise UsageError(f"A line has more than {MAX_INPUT >> 20} MiB.", "Is it text, with line ends?")
        self._rest = (self._rest + last)[: LONGEST + 1]
        self._ended = not chunk
        if self._ended and self._rest:
            lines = [self._rest]
        self._lines += lines
