"""A text on the terminal, each token marked by its first expert in some layers.

Knows the two forms, colour and letters; refuses to know streams. Without colour a line of letters stands below each
line of the text, a letter below the first visible character of each token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from mixchat.routing.routed_text import RoutedText
from mixchat.ui.experts_letters import Lettering, lettering, naming, terminal_style
from mixchat.ui.experts_lines import Line, lines_left_out, lines_of, marks_in
from mixchat.ui.layer_map import WIDEST

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - for annotations
    from rich.text import Text

_WIDEST_TERMINAL: Final = 500


@dataclass(frozen=True, slots=True)
class TextView:
    """The text once for each layer, under a heading and the letters' meaning.

    Attributes:
        text: The text.
        layers: The layers, all of which it has.
        most_lines: Lines of text per layer; None for all.
        letters: Letters with colour too.
        ascii_only: For terminals without Unicode.
    """

    text: RoutedText
    layers: tuple[int, ...]
    most_lines: int | None = None
    letters: bool = False
    ascii_only: bool = False

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width, with letters where there is no colour."""
        from rich.text import Text

        width = options.max_width if options.max_width <= _WIDEST_TERMINAL else WIDEST
        lines = list(lines_of(self.text.tokens, width, self.ascii_only))
        brush = _Brush(console.color_system, self.letters)
        yield Text(naming(self.text.n_experts), overflow="fold")
        yield from _wrapped(marks_in(self.text.tokens, self.ascii_only), width, brush, None)
        for index in self.layers:
            firsts = self.text.firsts(index)
            yield Text()
            yield Text(f"First expert of each token in layer {index}", style="bold", overflow="fold")
            letters = lettering(self.text.n_experts, firsts)
            yield from _legend(letters, width, brush)
            yield from self._passage(lines, firsts, letters, brush)

    def _passage(
        self, lines: Sequence[Line], firsts: Sequence[int], letters: Lettering, brush: "_Brush"
    ) -> "Iterator[Text]":
        from rich.text import Text

        for line in islice(lines, self.most_lines):
            yield brush.painted(line, firsts, letters)
            if brush.letters:
                yield Text(letter_line(line, firsts, letters), no_wrap=True, overflow="ignore")
        left = len(lines) - (self.most_lines or len(lines))
        if left > 0:
            yield Text(lines_left_out(left), style="dim")


def letter_line(line: Line, firsts: Sequence[int], letters: Lettering) -> str:
    """The letter of each token that begins on a line, below the first character that is seen of it."""
    drawn = ""
    for run in line:
        if run.starts:
            drawn += " " * (run.seen - len(drawn)) + letters.letters[firsts[run.token]]
    return drawn


class _Brush:
    """How runs are drawn on a terminal."""

    def __init__(self, colours: str | None, letters: bool) -> None:
        self._colours = colours
        self.letters = letters or colours is None

    def style(self, place: int | None) -> str:
        return terminal_style(place, self._colours == "standard") if self._colours else ""

    def painted(self, line: Line, firsts: Sequence[int], letters: Lettering) -> "Text":
        from rich.text import Text

        pieces = ((run.text, self.style(letters.colours[firsts[run.token]])) for run in line)
        return Text.assemble(*pieces, no_wrap=True, overflow="ignore")


def _legend(letters: Lettering, width: int, brush: _Brush) -> "Iterator[Text]":
    items = [f"{letters.name(expert)} {_percent(letters.shares[expert])}" for expert in letters.legend()]
    if letters.rest is not None:
        items.append(f"others {_percent(letters.rest)}")
    return _wrapped(items, width, brush, letters)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _wrapped(items: Sequence[str], width: int, brush: _Brush, letters: Lettering | None) -> "Iterator[Text]":
    """Items with two blanks between them, as many on a line as there is room for; letters in their colours."""
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ignore")
    for index, item in enumerate(items):
        if line.plain and len(line.plain) + 2 + len(item) > width:
            yield line
            line = Text(no_wrap=True, overflow="ignore")
        line.append("  " if line.plain else "")
        known = letters.legend() if letters else ()
        place = letters.colours[known[index]] if letters and index < len(known) else None
        line.append(item[:1], brush.style(place))
        line.append(item[1:])
    if line.plain:
        yield line
