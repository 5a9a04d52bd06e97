"""The terminal and the streams beside it: their colour, width and encoding, and the one factory of consoles.

Knows what may be written to which stream; refuses to know what is said. Rich is imported for consoles only.
"""

import os
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console  # noqa: TID251 - this is the factory

Style = Literal["", "bold", "dim", "cyan", "error"]

_CODES: Mapping[Style, str] = {"bold": "1", "dim": "2", "cyan": "36", "error": "1;31"}
BLOCKS = "█▀▄▛▖▓▒░·"
"""What pictures are drawn with."""

_DUMB = {"dumb", "unknown"}
_TRUE_COLOUR = {"truecolor", "24bit"}
_MANY_COLOURS = ("-256color", "-kitty")
_DEFAULT_WIDTH = 80
# Rich takes a dumb terminal for 80 columns wide unless it is told a height too.
_DUMB_HEIGHT = 25
# Rich needs a width; no line of a pipe reaches this one.
_UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Terminal:
    """The streams of a command and its environment; `quiet` leaves out what is neither answer nor error."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]
    quiet: bool = False


def is_terminal(stream: TextIO) -> bool:
    """Whether the stream is a terminal; a closed one is none."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def is_dumb(environ: Mapping[str, str]) -> bool:
    """Whether the terminal can do nothing but print lines."""
    return environ.get("TERM", "").lower() in _DUMB


def has_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether escape sequences for style may be written; see https://no-color.org."""
    return is_terminal(stream) and not is_dumb(environ) and not environ.get("NO_COLOR")


def width_of(stream: TextIO, environ: Mapping[str, str]) -> int:
    """Columns of a terminal: COLUMNS, else what it says of itself, else 80."""
    wished = environ.get("COLUMNS", "")
    if wished.isdecimal() and int(wished) > 0:
        return int(wished)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):
        return _DEFAULT_WIDTH


def make_encodable(stream: TextIO) -> TextIO:
    r"""Write `\u2026` for what the stream's encoding lacks instead of raising UnicodeEncodeError."""
    if isinstance(stream, TextIOWrapper) and stream.errors != "backslashreplace":
        stream.reconfigure(errors="backslashreplace")
    return stream


def can_encode(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has these characters."""
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def draws_blocks(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether pictures may have more than ASCII: not on a terminal whose encoding or locale (C, POSIX) lacks blocks."""
    if not is_terminal(stream):
        return True
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return locale not in {"C", "POSIX"} and can_encode(stream, BLOCKS)


def paint(text: str, style: Style, stream: TextIO, environ: Mapping[str, str]) -> str:
    """The text in a style that reads on light and dark terminals, or plain where there is no colour."""
    code = _CODES.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if code and has_colour(stream, environ) else text


def wrapped(text: str, stream: TextIO, environ: Mapping[str, str], indent: str = "") -> str:
    """Break lines between words where a terminal would break them inside one; a pipe gets them whole."""
    width = width_of(stream, environ)
    if not is_terminal(stream) or all(len(line) < width for line in text.split("\n")):
        return text
    room = max(width - 1, len(indent) + 1)
    lines = (
        textwrap.wrap(line, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
        for line in text.split("\n")
    )
    return "\n".join(part for parts in lines for part in parts)


def write_line(stream: TextIO, text: str) -> None:
    """Write a line beside the answer, cleaned before; without rich. It is lost when the stream is gone."""
    with suppress(OSError):
        make_encodable(stream).write(text + "\n")
        stream.flush()


def make_console(stream: TextIO, environ: Mapping[str, str]) -> "Console":
    """Make a console: as many colours as the terminal says it has, no markup, and no wrapping into a pipe."""
    from rich.console import Console  # noqa: TID251 - imported when needed, and here only

    terminal = is_terminal(stream)
    return Console(
        file=make_encodable(stream),
        color_system=_colours(environ) if has_colour(stream, environ) else None,
        force_terminal=terminal,
        force_interactive=terminal and not is_dumb(environ),
        width=width_of(stream, environ) if terminal else _UNLIMITED,
        height=_DUMB_HEIGHT if is_dumb(environ) else None,
        soft_wrap=not terminal,
        markup=False,
        highlight=False,
        emoji=False,
        _environ=environ,
    )


def _colours(environ: Mapping[str, str]) -> Literal["standard", "256", "truecolor"]:
    """How many colours a terminal has, as rich finds it out: COLORTERM first, then the end of TERM's name."""
    if environ.get("COLORTERM", "").strip().lower() in _TRUE_COLOUR:
        return "truecolor"
    return "256" if environ.get("TERM", "").strip().lower().endswith(_MANY_COLOURS) else "standard"
