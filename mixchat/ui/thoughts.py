"""A model's thinking, folded into one line.

Knows how long it took and how many words it was; refuses to know the words: they are kept elsewhere.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from mixchat.ui.console import can_encode, is_dumb, is_terminal, paint, width_of
from mixchat.ui.output import put
from mixchat.ui.progress import ERASE

_REDRAW: Final = 0.1
_HINT: Final = " (/show thinking)"
STATUS_WIDTH: Final = 40
"""Columns that a terminal must have for a status line, which is always far shorter: it stays one line when resized."""


class Thoughts:
    """Counts thoughts; on a terminal a status line grows with them, and one line stays when they are over.

    Args:
        stream: Where the answer goes.
        environ: The environment; without it there is neither colour nor a status line.
        clock: Seconds.
    """

    def __init__(
        self, stream: TextIO, environ: Mapping[str, str] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._environ = {"TERM": "dumb"} if environ is None else environ
        self._clock = clock
        self._since: float | None = None
        self._drawn: float | None = None
        self._words = 0
        self._in_word = False

    def think(self, text: str) -> None:
        """Take a piece of a thought; the cursor is at the beginning of a line. Errors as in `put`."""
        self._count(text)
        if self._since is None:
            self._since = self._clock()
        self._draw()

    def fold(self) -> None:
        """The thought is over: leave one line. Without a thought, or on a pipe, nothing. Errors as in `put`."""
        since, self._since = self._since, None
        if since is None:
            return
        words, self._words, self._in_word = self._words, 0, False
        drawn, self._drawn = self._drawn is not None, None
        seconds = self._clock() - since
        line = f"thought for {seconds:.0f} s, {_count_of(words)}" if words else ""
        if line and len(line) + len(_HINT) <= width_of(self._stream, self._environ):
            line += _HINT
        if is_terminal(self._stream) and (drawn or line):
            put(self._stream, (ERASE if drawn else "") + (self._dim(line) + "\n" if line else ""))

    def _count(self, text: str) -> None:
        for char in text:
            blank = char.isspace()
            self._words += not blank and not self._in_word
            self._in_word = not blank

    def _draw(self) -> None:
        now = self._clock()
        narrow = width_of(self._stream, self._environ) < STATUS_WIDTH
        if narrow or not is_terminal(self._stream) or is_dumb(self._environ) or not self._words:
            return
        if self._drawn is None or now - self._drawn >= _REDRAW:
            dots = "…" if can_encode(self._stream, "…") else "..."
            put(self._stream, ERASE + self._dim(f"thinking {dots} {_count_of(self._words)}"))
            self._drawn = now

    def _dim(self, text: str) -> str:
        return paint(text, "dim", self._stream, self._environ)


def _count_of(words: int) -> str:
    return f"{words} word{'' if words == 1 else 's'}"
