"""Redrawing the prompt in a terminal that wraps lines anew when it gets narrower.

Knows which terminals do so and how many rows the prompt takes then; refuses to know what the prompt shows. Elsewhere a
line that gets too long is cut, and the rows stay where they are.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prompt_toolkit.application import Application
    from prompt_toolkit.layout.screen import Screen

_MARKS: Final = ("TMUX", "VTE_VERSION", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "WEZTERM_PANE", "ALACRITTY_WINDOW_ID")
_NAMES: Final = ("tmux", "xterm-kitty", "alacritty", "foot", "wezterm", "xterm-ghostty")
_PROGRAMS: Final = {"iTerm.app", "WezTerm", "ghostty", "vscode", "tmux"}


def wraps_anew(environ: Mapping[str, str]) -> bool:
    """Whether this terminal is known to wrap lines anew."""
    return (
        any(environ.get(mark) for mark in _MARKS)
        or environ.get("TERM", "").startswith(_NAMES)
        or environ.get("TERM_PROGRAM") in _PROGRAMS
    )


def follow_wrapping(app: "Application[str]") -> None:
    """Let the application erase the rows above its cursor that came from wrapping too."""
    erase, drawn_for = app.renderer.erase, [0]

    def note(_app: object) -> None:
        drawn_for[0] = app.output.get_size().columns

    def erase_all(leave_alternate_screen: bool = True) -> None:
        columns, screen = app.output.get_size().columns, app.renderer.last_rendered_screen
        if screen is not None and columns < drawn_for[0]:
            cursor = screen.get_cursor_position(app.layout.current_window)
            above = sum((_width(screen, row) - 1) // columns for row in range(cursor.y) if _width(screen, row))
            app.output.cursor_up(above + cursor.x // columns)
        erase(leave_alternate_screen)

    app.after_render += note
    app.renderer.erase = erase_all  # type: ignore[method-assign]


def _width(screen: "Screen", row: int) -> int:
    """Columns up to the last character of a row."""
    return max((place + cell.width for place, cell in screen.data_buffer[row].items() if cell.char.strip()), default=0)
