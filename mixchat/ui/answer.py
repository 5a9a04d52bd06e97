"""Writes an answer while it comes.

Knows where the last line ends; refuses to know events and formats.
"""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TextIO

from mixchat.ui.console import is_terminal
from mixchat.ui.output import write_text
from mixchat.ui.thoughts import Thoughts


class AnswerWriter:
    """Writes pieces of an answer, each at once; as a context manager it ends the last line.

    Args:
        stream: Where to; of a terminal's text only what is harmless.
        environ: The environment; without it thoughts are folded without colour and without a status line.
        clock: Seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._thoughts = Thoughts(stream, environ, clock)
        self._open_line = False

    def write(self, text: str) -> None:
        """Write a piece; it may be empty.

        Raises:
            OutputError: It could not be written.
            BrokenPipeError: The reader is gone.
        """
        if text:
            self._thoughts.fold()
            self._open_line = not text.endswith("\n")
            write_text(self._stream, text)

    def think(self, text: str) -> None:
        """Take a piece of what the model thinks: folded into one line on a terminal, nothing on a pipe.

        Errors as in `write`.
        """
        if text:
            if self._open_line and is_terminal(self._stream):
                self.write("\n")
            self._thoughts.think(text)

    def end(self) -> None:
        """End the line if the answer did not; an empty answer stays empty. Errors as in `write`."""
        self._thoughts.fold()
        if self._open_line:
            self.write("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not isinstance(error, OSError):
            self.end()
