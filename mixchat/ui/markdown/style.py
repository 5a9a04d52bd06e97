"""What Markdown looks like on a terminal.

Knows the 16 colours that read on light and dark backgrounds, and the marks drawn around text; refuses to know the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TextIO

from mixchat.ui.console import draws_blocks, has_colour

PLAIN: Final = 0
BOLD: Final = 1
ITALIC: Final = 2
STRIKE: Final = 4
CODE: Final = 8
LINK: Final = 16
DIM: Final = 32
"""Styles; their sums are styles too."""

_CODES: Final = {BOLD: "1", DIM: "2", ITALIC: "3", LINK: "4", STRIKE: "9", CODE: "36"}
_RESET: Final = "\x1b[0m"

Piece = tuple[str, int]
"""A text without line ends, and its style."""


@dataclass(frozen=True, slots=True)
class Look:
    """How blocks are drawn.

    Attributes:
        colour: Whether there are styles. Without them the marks of the source stay.
        bullet: Before a list item.
        bar: Before each line of a quote.
        upright: Between the columns of a table.
        cross: Where a table's rule meets `upright`.
        dash: What a rule is made of.
        dots: What a waiting line begins with.
    """

    colour: bool
    bullet: str
    bar: str
    upright: str
    cross: str
    dash: str
    dots: str

    def paint(self, text: str, style: int) -> str:
        """The text in a style, closed again; plain where there is no colour."""
        return sgr(text, _codes(style)) if style and self.colour else text

    def paint_pieces(self, pieces: list[Piece]) -> str:
        """Paint pieces one after the other."""
        return "".join(self.paint(text, style) for text, style in pieces)


def look_of(stream: TextIO, environ: Mapping[str, str]) -> Look:
    """How a stream can show Markdown."""
    colour, drawn = has_colour(stream, environ), draws_blocks(stream, environ)
    bullet, bar = ("•", "│") if colour and drawn else ("-", ">")
    lines = ("│", "┼", "─", "…") if drawn else ("|", "+", "-", "...")
    return Look(colour, bullet, bar, *lines)


def sgr(text: str, codes: str) -> str:
    """The text between an escape sequence for style and its end; plain without codes."""
    return f"\x1b[{codes}m{text}{_RESET}" if codes and text else text


@lru_cache(maxsize=64)
def _codes(style: int) -> str:
    return ";".join(code for bit, code in _CODES.items() if style & bit)
