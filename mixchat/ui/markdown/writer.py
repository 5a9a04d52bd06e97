"""The surface of the Markdown renderer: an answer goes in piece by piece.

Knows what may be written to the terminal now, and the status line of what waits; refuses to know Markdown.
"""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TextIO

from mixchat.ui.console import width_of
from mixchat.ui.markdown.document import Document
from mixchat.ui.markdown.page import Page
from mixchat.ui.markdown.style import DIM, Look, look_of
from mixchat.ui.output import put
from mixchat.ui.progress import ERASE
from mixchat.ui.sanitize import clean
from mixchat.ui.thoughts import STATUS_WIDTH, Thoughts


class MarkdownWriter:
    """Prints Markdown while it comes, append-only; as a context manager it ends what is open.

    What is printed depends on the text alone, not on its pieces. While a table waits for its end, one dim line tells
    how much there is; it is erased before anything else is printed.

    Args:
        stream: A terminal.
        environ: The environment.
        clock: Seconds.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._environ = environ
        self._look: Look = look_of(stream, environ)
        self._thoughts = Thoughts(stream, environ, clock)
        self._out: list[str] = []
        self._status = ""
        self._return = ""
        self._fresh = True
        self._page, self._document = self._begin()

    def write(self, text: str) -> None:
        """Print a piece, as far as it can be known how; it may be empty.

        Raises:
            OutputError: It could not be written.
            BrokenPipeError: The reader is gone.
        """
        if text:
            self._thoughts.fold()
            self._fresh = False
            self._document.feed(clean(self._with_line_ends(text)))
            self._flush()

    def think(self, text: str) -> None:
        """Take a piece of what the model thinks before its answer; it is folded into one line. Errors as in `write`."""
        if text:
            if not self._fresh:
                self._end_document()
            self._thoughts.think(text)

    def end(self) -> None:
        """Print what waits, and end the line; an empty answer stays empty. Errors as in `write`."""
        self._thoughts.fold()
        self._end_document()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not isinstance(error, OSError):
            self.end()

    def _begin(self) -> tuple[Page, Document]:
        page = Page(self._out.append, lambda: width_of(self._stream, self._environ), self._look)
        return page, Document(page, self._look)

    def _end_document(self) -> None:
        self._document.feed(clean(self._return))
        self._return = ""
        self._document.end()
        self._flush()
        self._page, self._document = self._begin()
        self._fresh = True

    def _with_line_ends(self, text: str) -> str:
        """CR LF is a line end too; a CR may wait for its LF."""
        text = self._return + text
        self._return = "\r" if text.endswith("\r") else ""
        return text.removesuffix("\r").replace("\r\n", "\n")

    def _flush(self) -> None:
        """Print what is ready, and then the status line where it may stand."""
        ready = "".join(self._out)
        self._out.clear()
        status = self._waiting()
        if self._status and (ready or status != self._status):
            ready = ERASE + ready
        if status and (ready or status != self._status):
            ready += status
        self._status = status
        if ready:
            put(self._stream, ready)

    def _waiting(self) -> str:
        """The status line; only where a line is free, and far longer than it."""
        waiting = "" if self._page.open else self._document.waiting
        if not waiting or width_of(self._stream, self._environ) < STATUS_WIDTH:
            return ""
        return self._look.paint(f"{self._look.dots} {waiting}", DIM)
