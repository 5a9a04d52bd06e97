"""What `mixchat bench` looks like.

Knows which figure stands where and how they go on a narrow screen; refuses to know streams and how anything was
measured.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mixchat.app.benching import Benched
from mixchat.app.comparing import Change, Measurement
from mixchat.app.measuring import DECODE
from mixchat.app.truth import Allocation
from mixchat.plan.units import format_bytes
from mixchat.ui.by_width import NOTHING, ByWidth
from mixchat.ui.sanitize import single_line
from mixchat.ui.stats import format_speed

if TYPE_CHECKING:
    from rich.console import RenderableType

_UNFINISHED = "Interrupted: this is what was measured so far."


def bench_view(result: Benched) -> "RenderableType":
    """Model and placement, the figures beside the forecast, memory planned and real, and the change against before."""
    from rich.console import Group
    from rich.text import Text

    opened = result.opened
    loaded = f"load {opened.loaded.load_ms / 1000:.2f} s"
    parts: list[RenderableType] = [
        Text(f"{single_line(opened.name)} ({single_line(opened.model.quantization)}), {loaded}", overflow="fold"),
        Text(single_line(result.placement), overflow="fold"),
        Text(""),
        _speeds(result),
    ]
    if result.memory:
        parts += [Text(""), _memory(result.memory)]
    notes = [*changes_in_words(result.changes), *_left_out(result.left_out)]
    notes += [] if result.complete else [_UNFINISHED]
    if notes:
        parts += [Text(""), *(Text(note, overflow="fold") for note in notes)]
    return Group(*parts)


def changes_in_words(changes: Sequence[Change]) -> tuple[str, ...]:
    """A line for every figure that has been measured before, the regressions last."""
    return tuple(_change(change) for change in sorted(changes, key=lambda each: each.regression))


def _left_out(depths: Sequence[int]) -> Iterator[str]:
    for depth in depths:
        yield f"{depth} tokens of context are left out: getting there takes too long. --depths {depth} measures it."


def _speeds(result: Benched) -> ByWidth:
    headings = ("tokens", "measured", "spread", "forecast", "ratio")
    return ByWidth(headings, tuple(_speed(each, result.prefill) for each in result.measurements))


def _speed(measured: Measurement, prefill: int) -> tuple[str, ...]:
    count = prefill if measured.kind == "prefill" else DECODE
    forecast = NOTHING if measured.forecast is None else format_speed(measured.forecast)
    ratio = NOTHING if measured.ratio is None else f"{measured.ratio:.2f}"
    name = f"{measured.kind} {count} at {measured.depth}"
    return name, format_speed(measured.median), f"{100 * measured.spread:.0f} %", forecast, ratio


def _memory(found: Sequence[Allocation]) -> ByWidth:
    headings = ("memory", "planned", "real", "weights", "KV", "compute")
    return ByWidth(headings, tuple(_device(each) for each in found))


def _device(found: Allocation) -> tuple[str, ...]:
    real = found.real
    parts = (found.planned.total, real.total, real.weights + real.copies, real.kv, real.compute)
    return single_line(found.device), *(format_bytes(size) for size in parts)


def _change(change: Change) -> str:
    runs = "the run" if change.runs == 1 else f"the median of {change.runs} runs since"
    of = f"{runs} of" if change.runs == 1 else runs
    verdict = ": a regression, more than the spread explains" if change.regression else ""
    return (
        f"{change.kind} at {change.depth}: {100 * change.change:+.0f} % against {of} {change.since:%Y-%m-%d}{verdict}"
    )
