"""Tokens on lines of a fixed width.

Knows where each token begins, how wide it is and what stands for what cannot be seen; refuses to know experts and
colours.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Final

from mixchat.ui.sanitize import clean

_LINE_END, _NO_TEXT, _BASE = "⏎", "∅", "◌"
_ASCII_LINE_END, _ASCII_NO_TEXT = "$", "_"
_TAB: Final = "    "
_WIDE, _NO_WIDTH = {"W", "F"}, {"Mn", "Me", "Cf"}


@dataclass(frozen=True, slots=True)
class Run:
    """A part of one line that belongs to one token.

    - `token`: which; `starts`: whether the token begins here and not on a line before
    - `column`: where it begins, from 0; `width`: how many columns it takes
    - `lead`: how many columns of blanks it begins with; none where it is nothing but blanks
    """

    token: int
    starts: bool
    column: int
    width: int
    text: str
    lead: int = 0

    @property
    def seen(self) -> int:
        """The column where something of it is seen."""
        return self.column + self.lead


Line = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class _Cell:
    token: int
    starts: bool
    text: str
    width: int
    ends: bool = False


def lines_of(tokens: Sequence[str], width: int, ascii_only: bool = False) -> Iterator[Line]:
    """The text, cleaned, broken at its line ends, and before a token that does not fit or inside one wider than a line.

    A line end is marked, because it belongs to a token too; so are tokens without a text and, where a token begins
    with an accent for the letter before, that letter's place. Each token has one column at least.
    """
    line: list[_Cell] = []
    used = 0
    for index, token in enumerate(tokens):
        for part in _parts(list(_cells(index, token, ascii_only))):
            needed = sum(cell.width for cell in part)
            for cell in part:
                if line and used + (needed if needed <= width and cell is part[0] else cell.width) > width:
                    yield _runs(line)
                    line, used = [], 0
                line.append(cell)
                used += cell.width
            if part[-1].ends:
                yield _runs(line)
                line, used = [], 0
    if line:
        yield _runs(line)


def marks_in(tokens: Sequence[str], ascii_only: bool = False) -> tuple[str, ...]:
    """What the marks in a text mean, each in a few words."""
    end, nothing = (_ASCII_LINE_END, _ASCII_NO_TEXT) if ascii_only else (_LINE_END, _NO_TEXT)
    ends = (f"{end} end of line",) if any("\n" in token for token in tokens) else ()
    return ends + ((f"{nothing} token without text",) if not all(tokens) else ())


def lines_left_out(count: int) -> str:
    """That a text goes on."""
    return f"... and {count} more line{'s' if count > 1 else ''}"


def _parts(cells: Sequence[_Cell]) -> Iterator[list[_Cell]]:
    """A token's cells up to and with each line end."""
    part: list[_Cell] = []
    for cell in cells:
        part.append(cell)
        if cell.ends:
            yield part
            part = []
    if part:
        yield part


def _cells(index: int, token: str, ascii_only: bool) -> Iterator[_Cell]:
    """A token's characters; those without a width go with the one before."""
    pending, starts = "", True
    for char in _shown(token, ascii_only):
        if pending and char_width(char):
            yield _cell(index, starts, pending, ascii_only)
            pending, starts = "", False
        pending += char
    yield _cell(index, starts, pending, ascii_only)


def _cell(index: int, starts: bool, text: str, ascii_only: bool) -> _Cell:
    if text[0] == "\n":
        return _Cell(index, starts, _ASCII_LINE_END if ascii_only else _LINE_END, 1, ends=True)
    return _Cell(index, starts, text, char_width(text[0]))


def _shown(token: str, ascii_only: bool) -> str:
    if not ascii_only:
        return visible_token(token).replace("\t", _TAB)
    text = clean(token).replace("\t", _TAB)
    return text.encode("ascii", "backslashreplace").decode() or _ASCII_NO_TEXT


def visible_token(token: str) -> str:
    """A token cleaned; something that stands for it where nothing would be seen of it or of its beginning."""
    text = clean(token)
    if not text:
        return _NO_TEXT
    return text if char_width(text[0]) else _BASE + text


def char_width(char: str) -> int:
    """The columns of a character: none for accents and joiners, two for East Asian wide ones."""
    if char.isascii():
        return 1
    if unicodedata.category(char) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(char) in _WIDE else 1


def _runs(line: Sequence[_Cell]) -> Line:
    column, runs = 0, []
    for token, group in groupby(line, key=lambda cell: cell.token):
        cells = list(group)
        width = sum(cell.width for cell in cells)
        lead = sum(cell.width for cell in takewhile(lambda cell: cell.text.isspace(), cells))
        text = "".join(cell.text for cell in cells)
        runs.append(Run(token, cells[0].starts, column, width, text, lead if lead < width else 0))
        column += width
    return tuple(runs)
