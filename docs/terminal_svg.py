"""A terminal's screen as an SVG picture that reads on light and dark pages.

Knows pyte's screens, colours and a grid of cells; refuses to know what runs on the terminal.
"""
# ruff: noqa: INP001 - beside a script, not in a package

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final
from xml.sax.saxutils import escape

import pyte
from pyte.graphics import FG_BG_256

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE = 8.4, 18, 14
MARGIN, BAR = 14, 30
FONTS: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
PAPER, INK, FRAME, CAPTION = "#16181d", "#d8dbe2", "#4a505c", "#8f97a5"
COLOURS: Final[Mapping[str, str]] = {
    "black": "#5a6170",
    "red": "#ef6b73",
    "green": "#8cc570",
    "brown": "#e0b25c",
    "blue": "#6ca8f0",
    "magenta": "#c98be0",
    "cyan": "#57c1c9",
    "white": "#d8dbe2",
    "brightblack": "#7d8590",
    "brightred": "#ff8a90",
    "brightgreen": "#a8dd8c",
    "brightbrown": "#f3cc7d",
    "brightblue": "#8fc1ff",
    "brightmagenta": "#dcaaf0",
    "brightcyan": "#7fdde3",
    "brightwhite": "#ffffff",
}
FIRST_OF_256: Final = dict(zip(FG_BG_256, COLOURS.values(), strict=False))
DIM, NOT_DIM, BLINK, NOT_BLINK, EXTENDED = 2, 22, 5, 25, (38, 48)
NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Screen(pyte.Screen):  # type: ignore[misc]  # pyte has no types
    """A screen that answers questions, and keeps dim text apart: pyte has no such flag, so that of blinking serves."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows)
        self.answers: list[str] = []

    def select_graphic_rendition(self, *attrs: int, private: bool = False) -> None:
        """Set colours and flags."""
        if not private:
            super().select_graphic_rendition(*with_dim(attrs))

    def write_process_input(self, data: str) -> None:
        """Take what the terminal says to the program, such as where the cursor is."""
        self.answers.append(data)


@dataclass(frozen=True, slots=True)
class Look:
    """How cells look: colours as CSS has them."""

    ink: str
    paper: str
    bold: bool
    italic: bool
    underlined: bool


def with_dim(attrs: Sequence[int]) -> Iterator[int]:
    """Turn dim into blinking; the numbers that belong to a colour stay as they are."""
    left = iter(attrs)
    for attr in left:
        if attr in EXTENDED:
            kind = next(left, 0)
            yield from (attr, kind, *(next(left, 0) for _number in range(1 if kind == BLINK else 3)))
        elif attr in {DIM, NOT_DIM}:
            yield from (BLINK,) if attr == DIM else (NOT_DIM, NOT_BLINK)
        else:
            yield attr


def svg(screen: Any, title: str) -> str:  # noqa: ANN401 - pyte has no types
    """The screen as a picture: a window with a title, every run of equal cells pinned to its place in the grid.

    Rows below the last one that shows something are left out.
    """
    width = round(screen.columns * CELL_WIDTH + 2 * MARGIN, 1)
    last = _last_row(screen)
    height = (last + 1) * CELL_HEIGHT + BAR + MARGIN
    rows = (part for row in range(last + 1) for part in _row(screen, row))
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height}"',
            f'viewBox="0 0 {width:g} {height}" font-family="{FONTS}" font-size="{FONT_SIZE}">',
            f"<title>{_escaped(title)}</title>",
            f'<rect width="{width:g}" height="{height}" rx="8" fill="{PAPER}" stroke="{FRAME}"/>',
            f'<text x="{width / 2:g}" y="20" text-anchor="middle" fill="{CAPTION}">{_escaped(title)}</text>',
            f'<g transform="translate({MARGIN} {BAR})" xml:space="preserve">',
            *rows,
            *_cursor(screen),
            "</g>",
            "</svg>\n",
        )
    )


def _last_row(screen: Any) -> int:  # noqa: ANN401
    shown = [row for row in range(screen.lines) if any(_row(screen, row))]
    return max((*shown, 0 if screen.cursor.hidden else screen.cursor.y))


def _row(screen: Any, row: int) -> Iterator[str]:  # noqa: ANN401
    """The runs of a row, from left to right: cells that look alike, wide characters by themselves."""
    cells = [(column, screen.buffer[row][column]) for column in range(screen.columns)]
    shown = [(column, cell) for column, cell in cells if cell.data]
    for (look, wide), group in groupby(shown, lambda each: (_look(each[1]), each[0] if _wide(each[1].data) else -1)):
        run = list(group)
        column, width = run[0][0], 2 if wide >= 0 else len(run)
        if look.paper != PAPER:
            yield f'<rect {_at(column, row)} {_size(width)} fill="{look.paper}"/>'
        text = [cell.data for _column, cell in run]
        while text and text[-1] == " " and not look.underlined:
            text.pop()
        blank = next((index for index, data in enumerate(text) if data != " "), 0) if not look.underlined else 0
        if text:
            yield _text(look, "".join(text[blank:]), (column + blank, row), 2 if wide >= 0 else len(text) - blank)


def _text(look: Look, text: str, at: tuple[int, int], cells: int) -> str:
    style = ' font-weight="bold"' if look.bold else ""
    style += ' font-style="italic"' if look.italic else ""
    style += ' text-decoration="underline"' if look.underlined else ""
    length = f'textLength="{round(cells * CELL_WIDTH, 1):g}" lengthAdjust="spacingAndGlyphs"'
    return f'<text {_at(*at, FONT_SIZE)} {length} fill="{look.ink}"{style}>{_escaped(text)}</text>'


def _at(column: int, row: int, below: int = 0) -> str:
    """Where a cell's upper edge is, or so many pixels below."""
    return f'x="{round(column * CELL_WIDTH, 1):g}" y="{row * CELL_HEIGHT + below}"'


def _size(cells: int) -> str:
    return f'width="{round(cells * CELL_WIDTH, 1):g}" height="{CELL_HEIGHT}"'


def _cursor(screen: Any) -> Iterator[str]:  # noqa: ANN401
    if not screen.cursor.hidden:
        yield f'<rect {_at(screen.cursor.x, screen.cursor.y)} {_size(1)} fill="{INK}" opacity="0.6"/>'


def _look(cell: Any) -> Look:  # noqa: ANN401
    ink, paper = _colour(cell.fg, INK), _colour(cell.bg, PAPER)
    if cell.reverse:
        ink, paper = paper, ink
    return Look(_mixed(ink, paper) if cell.blink else ink, paper, cell.bold, cell.italics, cell.underscore)


def _colour(name: str, default: str) -> str:
    """Pyte's name of a colour as CSS; one name has a slip in it, and those of 256 and more are red, green and blue."""
    if name == "default":
        return default
    return COLOURS.get(name.replace("bfight", "bright")) or FIRST_OF_256.get(name) or f"#{name}"


def _mixed(ink: str, paper: str) -> str:
    """Dim ink: three parts of it and two of the paper."""
    pairs = ((int(ink[at : at + 2], 16), int(paper[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{(3 * one + 2 * other) // 5:02x}" for one, other in pairs)


def _wide(text: str) -> bool:
    return unicodedata.east_asian_width(text[0]) in {"W", "F"}


def _escaped(text: str) -> str:
    return escape(NO_XML.sub("\ufffd", text))
