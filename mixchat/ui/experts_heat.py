"""How much each expert of each layer is used, as a picture in characters.

Knows the shades and how rows and columns go on a narrow screen; refuses to know streams.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final

from mixchat.routing.tally import LayerReport, Report
from mixchat.ui.layer_map import WIDEST

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - for annotations
    from rich.text import Text

FEW_EXPERTS: Final = 16
"""Up to so many experts go down and the layers across; of more, the experts go across."""

_SHADES: Final = ((0.25, "·"), (0.75, "░"), (1.25, "▒"), (2.0, "▓"), (float("inf"), "█"))
_EQUAL_DIGIT, _LAST_DIGIT = 5, 9
_STEP: Final = 10


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A shade for each expert and layer, by how often it was chosen against an equal share.

    Attributes:
        report: What the routers did.
        rows: The layers to show of many experts; of few, every layer is shown.
        ascii_only: Digits instead of shades.
    """

    report: Report
    rows: tuple[LayerReport, ...]
    ascii_only: bool = False

    def __rich_console__(self, _console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        from rich.text import Text

        few = self.report.n_experts <= FEW_EXPERTS
        across = "experts down, layers across" if few else "layers down, experts across"
        yield Text(f"Share of all choices: {across}", style="bold", overflow="fold")
        width = min(options.max_width, WIDEST)
        yield from self._few(width) if few else self._many(width)
        yield Text(self._key(), style="dim", overflow="fold")

    def _few(self, width: int) -> "Iterator[Text]":
        layers = self.report.layers
        shares = list(zip(*(layer.shares.assignments for layer in layers), strict=True))
        tails = [f" {100 * fsum(row) / len(row):5.1f}" for row in shares]
        numbers = [layer.layer for layer in layers]
        return self._grid(_Grid(list(ascii_uppercase[: len(shares)]), shares, numbers, tails), width)

    def _many(self, width: int) -> "Iterator[Text]":
        shares = [layer.shares.assignments for layer in self.rows]
        labels = [str(layer.layer) for layer in self.rows]
        return self._grid(_Grid(labels, shares, range(self.report.n_experts), [""] * len(labels)), width)

    def _grid(self, grid: "_Grid", width: int) -> "Iterator[Text]":
        from rich.text import Text

        label = max(map(len, grid.labels)) + 1
        room = width - label - max(map(len, grid.tails))
        columns = len(grid.numbers)
        wide = 2 if 2 * columns <= room else 1
        per_line = columns if columns * wide <= room else max(room // _STEP, 1) * _STEP
        for start in range(0, columns, per_line):
            cut = slice(start, min(start + per_line, columns))
            last = cut.stop == columns
            ruler = _ruler(grid.numbers[cut], wide) + ("  mean" if last and grid.tails[0] else "")
            yield Text(" " * label + ruler, style="dim", no_wrap=True)
            for name, row, tail in zip(grid.labels, grid.shares, grid.tails, strict=True):
                cells = "".join(self._mark(share) * wide for share in row[cut])
                yield Text(f"{name:<{label}}{cells}{tail if last else ''}", no_wrap=True)

    def _mark(self, share: float) -> str:
        ratio = share * self.report.n_experts
        if self.ascii_only:
            return str(min(round(_EQUAL_DIGIT * ratio), _LAST_DIGIT))
        return next(shade for limit, shade in _SHADES if ratio < limit)

    def _key(self) -> str:
        equal = f"an equal share ({100 / self.report.n_experts:.1f} %)"
        if self.ascii_only:
            return f"5 {equal}, 0 hardly ever, 9 at least 1.7 times as much"
        return f"▒ {equal}, ░ less, · under 1/4 of it, ▓ more, █ twice or more"


@dataclass(frozen=True, slots=True)
class _Grid:
    """Rows with a name and an end, and the number of each column."""

    labels: Sequence[str]
    shares: Sequence[tuple[float, ...]]
    numbers: Sequence[int]
    tails: Sequence[str]


def _ruler(numbers: Sequence[int], wide: int) -> str:
    """The number of every tenth column above it (of the fifth where columns are wide)."""
    marks = "".join(f"{number:<{_STEP}}" for number in numbers[:: _STEP // wide])
    return f"{marks[: len(numbers) * wide]:<{len(numbers) * wide}}"
