"""Pictures of a plan in characters: which layers lie where, and what fills each device.

Knows the marks, their ASCII stand-ins and how many layers go on a line; refuses to know streams. A colour says nothing
that a mark does not.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mixchat.plan.values import Placement, Plan, Share
from mixchat.ui.sanitize import columns, single_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - for annotations
    from rich.text import Text

Experts = Literal["all", "some", "none"]
Cell = tuple[bool, Experts]
"""What a device has of a layer: its attention (with the KV cache), and how much of its routed experts."""

WIDEST: Final = 80
"""Columns that a picture takes at the most, also in a pipe."""

COLOURS: Final = ("green", "cyan", "magenta")
"""Of the GPUs in turn; the CPU has the terminal's own. All read on light and dark backgrounds."""

_UNICODE: Final[dict[Cell, str]] = {
    (True, "all"): "█",
    (True, "none"): "▀",
    (False, "all"): "▄",
    (True, "some"): "▛",
    (False, "some"): "▖",
    (False, "none"): "·",
}
_ASCII: Final[dict[Cell, str]] = {
    (True, "all"): "#",
    (True, "none"): "A",
    (False, "all"): "E",
    (True, "some"): "+",
    (False, "some"): "-",
    (False, "none"): ".",
}
_MEANING: Final[dict[Cell, str]] = {
    (True, "all"): "whole layer",
    (True, "none"): "attention and KV cache",
    (False, "all"): "experts",
    (True, "some"): "attention, part of the experts",
    (False, "some"): "the other part",
    (False, "none"): "nothing",
}
_FILLS: Final = ("weights", "KV cache", "compute", "copies", "left")
_UNICODE_FILLS: Final = "█▓▒░·"
_ASCII_FILLS: Final = "#kc+."
_STEP: Final = 10
_LONGEST_LABEL: Final = 16


def cells(plan: Plan, device: str) -> tuple[Cell, ...]:
    """What a device has of each layer."""
    return tuple(_cell(layer, device) for layer in plan.layers)


def _cell(layer: Placement, device: str) -> Cell:
    here = [place == device for place in (layer.up, layer.gate, layer.down)]
    experts: Experts = "all" if all(here) else "some" if any(here) else "none"
    return layer.attention == device, experts


@dataclass(frozen=True, slots=True)
class LayerMap:
    """A row for each device and a character for each layer, folded to the width."""

    plan: Plan
    ascii_only: bool = False

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        names = [share.device for share in self.plan.shares]
        label = _label_width((*names, "layer"))
        room = min(options.max_width, WIDEST) - label - 2
        per_line = max(room // _STEP, 1) * _STEP
        rows = {name: cells(self.plan, name) for name in names}
        for start in range(0, len(self.plan.layers), per_line):
            yield from self._fold(rows, label, range(start, min(start + per_line, len(self.plan.layers))))
        used = {cell for row in rows.values() for cell in row}
        pairs = [(self._mark(cell), meaning) for cell, meaning in _MEANING.items() if cell in used]
        yield from _legend(pairs, label, min(options.max_width, WIDEST))

    def _fold(self, rows: dict[str, tuple[Cell, ...]], label: int, layers: range) -> "Iterator[Text]":
        from rich.text import Text

        yield Text(_labelled("layer", label) + _ruler(layers), style="dim", no_wrap=True)
        for index, (name, row) in enumerate(rows.items()):
            marks = "".join(self._mark(row[layer]) for layer in layers)
            yield Text.assemble(_labelled(name, label), (marks, colour_of(self.plan.shares, index)), no_wrap=True)

    def _mark(self, cell: Cell) -> str:
        return (_ASCII if self.ascii_only else _UNICODE)[cell]


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar for each device: what its budget goes to."""

    shares: tuple[Share, ...]
    ascii_only: bool = False

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        from rich.text import Text

        fills = _ASCII_FILLS if self.ascii_only else _UNICODE_FILLS
        label = _label_width([*(share.device for share in self.shares), "layer"])
        width = max(min(options.max_width, WIDEST) - label - 2 - len(" 100 %"), _STEP)
        for index, share in enumerate(self.shares):
            lengths = bar_lengths(share, width)
            bar = "".join(fill * length for fill, length in zip(fills, lengths, strict=True))
            yield Text.assemble(
                _labelled(share.device, label),
                (bar, colour_of(self.shares, index)),
                f" {_percent(share)}",
                no_wrap=True,
            )
        used = [any(lengths) for lengths in zip(*(bar_lengths(share, width) for share in self.shares), strict=True)]
        pairs = zip(fills, _FILLS, strict=True)
        marks = [pair for pair, here in zip(pairs, used, strict=True) if here]
        yield from _legend(marks, label, min(options.max_width, WIDEST))


def bar_lengths(share: Share, width: int) -> tuple[int, ...]:
    """Cells of weights, KV cache, compute buffers, copies and what is left; what there is has one at the least."""
    part = share.footprint
    sizes = (part.weights, part.kv, part.compute, part.copies)
    whole = max(share.budget, part.total, 1)
    lengths = [max(1, round(size * width / whole)) if size else 0 for size in sizes]
    while sum(lengths) > width:
        lengths[lengths.index(max(lengths))] -= 1
    return (*lengths, width - sum(lengths))


def colour_of(shares: Sequence[Share], index: int) -> str:
    """The style of a device; the CPU has none."""
    return COLOURS[index % len(COLOURS)] if shares[index].kind == "gpu" else ""


def _percent(share: Share) -> str:
    return f"{100 * share.footprint.total / max(share.budget, 1):3.0f} %" if share.budget else "  - %"


def _ruler(layers: range) -> str:
    """The number of every tenth layer above its mark."""
    return "".join(f"{layer:<{_STEP}}" for layer in layers[::_STEP]).rstrip()


def _label_width(labels: Sequence[str]) -> int:
    return min(max(columns(single_line(label)) for label in labels), _LONGEST_LABEL)


def _labelled(label: str, width: int) -> str:
    text = single_line(label, width)
    return text + " " * (width - columns(text) + 2)


def _legend(pairs: Iterable[tuple[str, str]], indent: int, width: int) -> "Iterator[Text]":
    """Marks and their meanings, as many on a line as there is room for."""
    from rich.text import Text

    line = ""
    for mark, meaning in pairs:
        item = f"{mark} {meaning}"
        if line and indent + 2 + len(f"{line}  {item}") > width:
            yield Text(" " * (indent + 2) + line, style="dim")
            line = ""
        line += f"  {item}" if line else item
    yield Text(" " * (indent + 2) + line, style="dim")
