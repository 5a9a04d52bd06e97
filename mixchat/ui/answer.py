"""Writes an answer while it comes.

Knows where the last line ends; refuses to know events and formats.
"""

from types import TracebackType
from typing import Self, TextIO

from mixchat.ui.output import write_text


class AnswerWriter:
    """Writes pieces of an answer, each at once; as a context manager it ends the last line.

    Args:
        stream: Where to; of a terminal's text only what is harmless.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._open_line = False

    def write(self, text: str) -> None:
        """Write a piece; it may be empty.

        Raises:
            OutputError: It could not be written.
            BrokenPipeError: The reader is gone.
        """
        if text:
            self._open_line = not text.endswith("\n")
            write_text(self._stream, text)

    def end(self) -> None:
        """End the line if the answer did not; an empty answer stays empty. Errors as in `write`."""
        if self._open_line:
            self.write("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not isinstance(error, OSError):
            self.end()
