"""Tables, drawn when they are complete.

Knows columns and how to share a line among them; refuses to know how a table is recognised. Where the columns' words do
not fit side by side, every row becomes `head: value` lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal

from mixchat.ui.markdown.inline import Inline
from mixchat.ui.markdown.page import Page
from mixchat.ui.markdown.style import BOLD, DIM, PLAIN, Look, Piece
from mixchat.ui.markdown.words import Word, Words
from mixchat.ui.sanitize import columns

Align = Literal["left", "right", "centre"]

_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_BETWEEN: Final = 3
_LONGEST_WORD: Final = 12
_UNBOUNDED: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a cell."""

    pieces: list[Piece]
    columns: int


class Table:
    """Collects rows.

    Args:
        page: Where it is drawn.
        look: How.
        head: The line of the heads.
        delimiter: The line below it, with the alignments.
    """

    def __init__(self, page: Page, look: Look, head: str, delimiter: str) -> None:
        self._page = page
        self._look = look
        self._rows = [split_row(head)]
        self._aligns = [_align(cell) for cell in split_row(delimiter)]
        self._row: list[str] = []

    @property
    def waiting(self) -> str:
        """What is held back."""
        count = len(self._rows) - 1
        return f"table, {count} row{'' if count == 1 else 's'}"

    def begin(self, text: str) -> None:
        """What follows the line below the heads: nothing."""

    def take(self, text: str) -> None:
        """Take a part of a row."""
        self._row.append(text)

    def end_line(self) -> None:
        """The row is complete."""
        if self._row:
            self._rows.append(split_row("".join(self._row)))
        self._row = []

    def close(self) -> None:
        """Draw it."""
        count = max(len(row) for row in self._rows)
        rows = [[self._words(cell) for cell in row + [""] * (count - len(row))] for row in self._rows]
        rows[0] = [[_bold(word) for word in cell] for cell in rows[0]]
        widths = share([list(column) for column in zip(*rows, strict=True)], self._page.room() - _BETWEEN * (count - 1))
        if widths is None:
            self._stack(rows)
        else:
            for line in list(self._drawn(rows, widths)):
                self._page.line(line)

    def _words(self, cell: str) -> list[Word]:
        words: list[Word] = []
        splitter = Words(words.append, lambda: _UNBOUNDED)
        inline = Inline(splitter.feed, keep_marks=not self._look.colour)
        for char in _BREAK.sub("\n", cell):
            inline.feed(char)
        inline.end()
        splitter.end()
        return words

    def _drawn(self, rows: list[list[list[Word]]], widths: list[int]) -> Iterator[str]:
        look = self._look
        rule = look.paint(f"{look.dash}{look.cross}{look.dash}".join(look.dash * width for width in widths), DIM)
        cells = [[wrapped(cell, width) for cell, width in zip(row, widths, strict=True)] for row in rows]
        spaced = any(len(cell) > 1 for row in cells for cell in row)
        for number, row in enumerate(cells):
            if number > 1 and spaced:
                yield rule
            for line in zip_longest(*row):
                yield self._beside(line, widths)
            if not number:
                yield rule

    def _beside(self, line: tuple[_Line | None, ...], widths: list[int]) -> str:
        look = self._look
        between = f" {look.paint(look.upright, DIM)} "
        cells = [
            _padded(look.paint_pieces(cell.pieces), width - cell.columns, self._alignment(number))
            if cell is not None
            else " " * width
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return between.join(cells).rstrip(" ")

    def _alignment(self, number: int) -> Align:
        return self._aligns[number] if number < len(self._aligns) else "left"

    def _stack(self, rows: list[list[list[Word]]]) -> None:
        """Every row as lines of `head: value`; without rows the heads alone."""
        for number, row in enumerate(rows[1:] or rows[:1]):
            if number:
                self._page.line("")
            for head, cell in zip(rows[0], row, strict=True):
                self._place(head if cell is head else _labelled(head, cell))

    def _place(self, words: list[Word]) -> None:
        for word in words:
            self._page.place(word)
        self._page.end_line()


def split_row(line: str) -> list[str]:
    r"""Split a row into its cells; `\|` is a bar in a cell."""
    line = line.strip().removeprefix("|")
    cells, cell, escaped = [], "", False
    for char in line:
        if char == "|" and not escaped:
            cells.append(cell)
            cell = ""
        else:
            cell = cell[:-1] + char if char == "|" else cell + char
        escaped = char == "\\" and not escaped
    if cell.strip():
        cells.append(cell)
    return [cell.strip() for cell in cells] or [""]


def share(table: list[list[list[Word]]], available: int) -> list[int] | None:
    """Columns for each column of a table, from `available` ones; None when its words do not fit side by side.

    1. What every column would take without a break; when that fits, it is so.
    2. Each gets its longest word, up to 12 columns.
    3. The rest goes to the narrowest first, so that short columns are not broken.
    """
    wished = [max(_unbroken(cell) for cell in column) or 1 for column in table]
    if sum(wished) <= available:
        return wished
    least = [min(max((word.columns for cell in column for word in cell), default=1), _LONGEST_WORD) for column in table]
    left = available - sum(least)
    if left < 0:
        return None
    widths = least
    for rank, number in enumerate(sorted(range(len(table)), key=lambda number: wished[number] - least[number])):
        more = min(wished[number] - least[number], left // (len(table) - rank))
        widths[number] += more
        left -= more
    return widths


def wrapped(words: list[Word], width: int) -> list[_Line]:
    """Set a cell's words on lines of at most `width` columns."""
    lines: list[_Line] = []
    pieces: list[Piece] = []
    used = 0
    for word in (part for whole in words for part in _broken(whole, width)):
        if pieces and (word.gap == "\n" or used + len(word.gap) + word.columns > width):
            lines.append(_Line(pieces, used))
            pieces, used = [], 0
        if pieces and word.gap:
            pieces.append((word.gap, PLAIN))
            used += len(word.gap)
        pieces = pieces + word.pieces
        used += word.columns
    return [*lines, _Line(pieces, used)]


def _broken(word: Word, width: int) -> list[Word]:
    """The word, or parts of it that fit."""
    if word.columns <= width:
        return [word]
    chars = [(char, style) for text, style in word.pieces for char in text]
    parts: list[Word] = []
    pieces: list[Piece] = []
    used = 0
    for char, style in chars:
        if pieces and used + columns(char) > width:
            parts.append(Word(pieces, used, "" if parts else word.gap))
            pieces, used = [], 0
        pieces.append((char, style))
        used += columns(char)
    return [*parts, Word(pieces, used, "" if parts else word.gap)]


def _unbroken(words: list[Word]) -> int:
    """Columns of a cell without further line breaks."""
    widest = used = 0
    for number, word in enumerate(words):
        used = word.columns if word.gap == "\n" or not number else used + len(word.gap) + word.columns
        widest = max(widest, used)
    return widest


def _bold(word: Word) -> Word:
    return Word([(text, style | BOLD) for text, style in word.pieces], word.columns, word.gap)


def _labelled(head: list[Word], cell: list[Word]) -> list[Word]:
    if not head:
        return cell
    last = head[-1]
    label = [*head[:-1], Word([*last.pieces, (":", BOLD)], last.columns + 1, last.gap)]
    return label + [Word(word.pieces, word.columns, word.gap if number else " ") for number, word in enumerate(cell)]


def _align(cell: str) -> Align:
    if cell.endswith(":"):
        return "centre" if cell.startswith(":") else "right"
    return "left"


def _padded(text: str, missing: int, align: Align) -> str:
    left = 0 if align == "left" else missing if align == "right" else missing // 2
    return " " * left + text + " " * (missing - left)
