"""Words and lines onto the lines of a terminal, between margins.

Knows how far the open line is filled, and what stands before every line; refuses to know blocks. The width is asked
anew for each line, so that a resized terminal counts from the next one on.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mixchat.ui.markdown.style import DIM, PLAIN, Look, Piece
from mixchat.ui.markdown.words import Word


@dataclass(slots=True)
class Edge:
    """What a quote or a list item puts before its lines.

    Attributes:
        first: Before its first line.
        rest: Before every other one.
        quote: Whether it is a quote's bar.
        shown: Whether the first line is printed.
    """

    first: str
    rest: str
    quote: bool = False
    shown: bool = False


class Page:
    """Prints into `out`, line after line; nothing is ever taken back.

    Args:
        out: Takes text and line ends.
        width: The terminal's columns.
        look: How it is drawn.
    """

    def __init__(self, out: Callable[[str], None], width: Callable[[], int], look: Look) -> None:
        self._out = out
        self._ask_width = width
        self._look = look
        self._edges: list[Edge] = []
        self._gap: str | None = None
        self._width = 0
        self._used = 0
        self._started = False
        self._filled = False
        self.open = False
        """Whether the last line is not ended yet."""

    def enter(self, edge: Edge) -> None:
        """A quote or a list item begins."""
        self._edges.append(edge)

    def leave(self, kept: int) -> None:
        """All but the outermost `kept` end; an item that had no line gets one."""
        if not all(edge.shown or edge.quote for edge in self._edges[kept:]):
            self.line("")
        del self._edges[kept:]

    def skip_line(self) -> None:
        """Leave a blank line before the next one; none at the beginning."""
        if self._started:
            self._gap = self._paint_edges([(edge.rest, edge.quote) for edge in self._edges])

    def room(self) -> int:
        """Columns beside the margin; at least 1."""
        width = self._ask_width()
        return max(width - sum(len(text) for text, _ in self._margin(width)), 1)

    def place(self, word: Word) -> None:
        """Set a word beside the last one, or on a new line where it does not fit."""
        needed = self._used + len(word.gap) + word.columns
        if word.gap == "\n" or (self._filled and not word.fixed and needed > self._width):
            self.end_line()
        if not self.open:
            self._begin_line()
        else:
            self._out(word.gap)
            self._used += len(word.gap)
        self._out(self._look.paint_pieces(word.pieces))
        self._filled = True
        self._used += word.columns
        if self._used > self._width:
            self._used = (self._used - 1) % self._width + 1

    def end_line(self) -> None:
        """End the open line, if there is one."""
        if self.open:
            self._out("\n")
        self.open = self._filled = False

    def line(self, painted: str) -> None:
        """Print a whole line beside the margin."""
        self.end_line()
        self._begin_line(bare=not painted)
        self._out(painted)
        self.end_line()

    def code(self, painted: str) -> None:
        """Print a line of code: without the indentation of lists, so that what is copied is the code."""
        self.end_line()
        if not all(edge.shown or edge.quote for edge in self._edges):
            self.line("")
        self._fill_gap()
        bars = [(edge.rest, True) for edge in self._edges if edge.quote]
        self._out(self._paint_edges(bars, bare=not painted) + painted + "\n")
        self._started = True

    def _begin_line(self, *, bare: bool = False) -> None:
        self._fill_gap()
        self._width = max(self._ask_width(), 1)
        margin = self._margin(self._width)
        for edge in self._edges:
            edge.shown = True
        self._out(self._paint_edges(margin, bare=bare))
        self._used = sum(len(text) for text, _ in margin)
        self._started = self.open = True

    def _fill_gap(self) -> None:
        if self._gap is not None:
            self._out(self._gap + "\n")
        self._gap = None

    def _margin(self, width: int) -> list[tuple[str, bool]]:
        """What stands before the next line; of a margin that is too wide for the terminal only the marks of items."""
        margin = [(edge.rest if edge.shown else edge.first, edge.quote) for edge in self._edges]
        if sum(len(text) for text, _ in margin) <= width // 2:
            return margin
        return [(edge.first, False) for edge in self._edges if not edge.shown and not edge.quote]

    def _paint_edges(self, margin: list[tuple[str, bool]], *, bare: bool = True) -> str:
        """Paint a margin; a bare one has no blanks at its end."""
        while bare and margin and not margin[-1][0].strip(" "):
            margin = margin[:-1]
        pieces: list[Piece] = [(text, DIM if quote else PLAIN) for text, quote in margin]
        if bare and pieces:
            pieces[-1] = (pieces[-1][0].rstrip(" "), pieces[-1][1])
        return self._look.paint_pieces(pieces)
