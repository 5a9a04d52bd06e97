"""The blocks that hold text.

Knows how a paragraph, a heading and a block of code take their lines; refuses to know containers and what a line is.
"""

import re
import unicodedata
from typing import Final, Protocol

from mixchat.ui.markdown.code import Highlighter
from mixchat.ui.markdown.inline import Inline
from mixchat.ui.markdown.page import Page
from mixchat.ui.markdown.style import BOLD, DIM, PLAIN, Look
from mixchat.ui.markdown.words import Words
from mixchat.ui.sanitize import columns

_WRAPPED: Final = range(60, 101)
_SENTENCE_ENDS: Final = ".!?:;。"
_INFO = re.compile(r"[{.]*([^\s{},:]+)")


class Leaf(Protocol):
    """A block that is open."""

    def take(self, text: str) -> None:
        """Take a part of a line."""

    def end_line(self) -> None:
        """The line is complete."""

    def close(self) -> None:
        """The block is complete: print what waits."""


class Paragraph:
    """Text, printed word by word.

    A line end is kept, because models do not wrap their text by hand: verses, addresses and lists without marks would
    run together. The exception is a line of 60 to 100 columns that does not end a sentence: it looks wrapped by hand.

    Attributes:
        piped: Whether the current line has a `|`, and so may head a table.
        verse: Every line end is kept: this is a table without a mark before its first column.
    """

    def __init__(self, page: Page, look: Look) -> None:
        self._page = page
        self._words = Words(page.place, page.room)
        self._inline = Inline(self._words.feed, keep_marks=not look.colour)
        self._columns = 0
        self._last = ""
        self._blanks = 0
        self.piped = False
        self.verse = False

    def take(self, text: str) -> None:
        """Take a part of a line."""
        for char in text:
            self._columns += columns(char)
            if char in " \t":
                self._blanks += 1
            else:
                self._blanks, self._last = 0, char
                self.piped = self.piped or char == "|"
            self._inline.feed(char)

    def begin_line(self) -> None:
        """A further line begins."""
        self.piped = False

    def end_line(self) -> None:
        """The line is complete."""
        hard = self.verse or self._blanks > 1 or self._last == "\\"
        wrapped = self._columns in _WRAPPED and unicodedata.normalize("NFKC", self._last) not in _SENTENCE_ENDS
        self._inline.feed(" " if wrapped and not hard else "\n")
        self._columns, self._blanks, self._last = 0, 0, ""

    def break_line(self) -> None:
        """Whatever the last line looked like: its end is kept."""
        self._inline.feed("\n")

    def close(self) -> None:
        """The block is complete: print what waits."""
        self._inline.end()
        self._words.end()
        self._page.end_line()


class Heading:
    """A heading, with its marks; those at its end are dropped."""

    def __init__(self, page: Page, look: Look, level: int) -> None:
        self._page = page
        self._words = Words(page.place, page.room)
        self._inline = Inline(self._bold, keep_marks=not look.colour)
        self._waiting = ""
        self._words.feed("#" * level, DIM)
        self._words.feed(" ", PLAIN)

    def take(self, text: str) -> None:
        """Take a part of the line."""
        for char in text:
            if char in " \t" or (char == "#" and self._waiting):
                self._waiting += char
            else:
                self._flush()
                self._inline.feed(char)

    def end_line(self) -> None:
        """The line is complete; what waits is the closing mark."""
        self._waiting = ""

    def close(self) -> None:
        """The block is complete."""
        self._inline.end()
        self._words.end()
        self._page.end_line()

    def _bold(self, text: str, style: int) -> None:
        self._words.feed(text, style | BOLD)

    def _flush(self) -> None:
        for char in self._waiting:
            self._inline.feed(char)
        self._waiting = ""


class Fence:
    """Code between fences, printed line by line; the fences stay, dimmed.

    Its lines lose the indentation of the opening fence, unless one has less: then the code is not indented with it.

    Args:
        page: Where to.
        look: How it is drawn.
        opening: The opening fence.
        indent: Its column.
    """

    def __init__(self, page: Page, look: Look, opening: str, indent: int) -> None:
        self._page = page
        self._look = look
        self._mark = opening[: len(opening) - len(opening.lstrip(opening[0]))]
        self._closing = re.compile(rf"{opening[0]}{{{len(self._mark)},}}")
        info = _INFO.match(opening[len(self._mark) :].strip())
        self._highlighter = Highlighter(info[1] if info and look.colour else "")
        self._indent = self._surplus = indent
        self._print_mark(opening.rstrip())

    def is_end(self, line: str) -> bool:
        """Whether a line, without the marks of quotes, is the closing fence."""
        return _indent_of(line) <= self._indent + 3 and self._closing.fullmatch(line.strip(" \t")) is not None

    def add(self, line: str) -> None:
        """Print a line of code."""
        if line.strip():
            self._surplus = min(self._surplus, _indent_of(line))
        self._page.code(self._highlighter.line(_without_indent(line, self._surplus)))

    def take(self, text: str) -> None:
        """Code comes in whole lines: see `add`."""

    def end_line(self) -> None:
        """Code comes in whole lines: see `add`."""

    def close(self) -> None:
        """The block is complete, or cut off."""
        self._print_mark(self._mark)

    def _print_mark(self, mark: str) -> None:
        self._page.code(self._look.paint(mark, DIM))


class Indented:
    """Code that is marked by its indentation alone."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._line: list[str] = []
        self._blanks = 0

    def take(self, text: str) -> None:
        """Take a part of a line."""
        self._line.append(text)

    def end_line(self) -> None:
        """Print the line, and the blank ones before it."""
        for _ in range(self._blanks):
            self._page.code("")
        self._page.code("".join(self._line))
        self._line, self._blanks = [], 0

    def skip(self) -> None:
        """A blank line; it counts when another line follows."""
        self._blanks += 1

    def close(self) -> None:
        """The block is complete."""


def _indent_of(line: str) -> int:
    """The columns before a line's text; tabs go to the next multiple of four."""
    blanks = line[: len(line) - len(line.lstrip(" \t"))]
    return len(blanks.expandtabs(4))


def _without_indent(line: str, indent: int) -> str:
    """The line without its first `indent` columns, which are blank; a tab that goes further becomes blanks."""
    at = column = 0
    while column < indent and at < len(line):
        column += 4 - column % 4 if line[at] == "\t" else 1
        at += 1
    return " " * max(column - indent, 0) + line[at:]
