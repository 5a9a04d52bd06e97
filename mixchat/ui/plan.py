"""What `mixchat plan` shows.

Knows the order: what it is, whether it fits, how fast; memory by device; the layers; why; what would change it. Refuses
to know streams. Everything shown is cleaned.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mixchat.app.planning import Planned, Quantization
from mixchat.errors import DoesNotFit
from mixchat.gguf.model import MoeModel
from mixchat.plan.units import format_bytes
from mixchat.plan.values import Forecast, Plan, Share
from mixchat.ui.by_width import NOTHING, ByWidth
from mixchat.ui.layer_map import Bars, LayerMap
from mixchat.ui.sanitize import single_line
from mixchat.ui.stats import format_speed

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - for annotations
    from rich.text import Text

_HEADINGS: Final = ("device", "budget", "weights", "KV", "compute", "copies", "left")
_LEAST_SHARE: Final = 0.03
_LEAST_MS: Final = 0.05


@dataclass(frozen=True, slots=True)
class PlanView:
    """All of a plan."""

    planned: Planned
    ascii_only: bool = False

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        from rich.text import Text

        plan = self.planned.plan
        yield from _head(self.planned, plan)
        yield Text()
        yield ByWidth(_HEADINGS, tuple(_device_row(share) for share in plan.shares))
        yield Bars(plan.shares, self.ascii_only)
        yield Text()
        yield LayerMap(plan, self.ascii_only)
        yield from _section("why", plan.reasons)
        changes = [f"{what.change}: {what.effect}" for what in self.planned.what_ifs]
        yield from _section("what if", changes)


def quantization_table(rows: Sequence[Quantization]) -> ByWidth:
    """The quantizations of a model side by side; what does not fit says what is missing."""
    headings = ("quantization", "file", "fits", "VRAM layers", "decode", "prefill")
    return ByWidth(headings, tuple(_quantization_row(row) for row in rows))


def _quantization_row(row: Quantization) -> tuple[str, ...]:
    name = single_line(row.quantization or row.name)
    size = format_bytes(row.nbytes)
    if row.plan is None:
        missing = row.problem
        words = f"no, lacks {format_bytes(missing.short_by)} {missing.what}" if isinstance(missing, DoesNotFit) else "?"
        return name, size, words, NOTHING, NOTHING, NOTHING
    layers = f"{row.plan.expert_layers} of {len(row.plan.layers)}" if row.plan.on_gpu else NOTHING
    forecast = row.plan.forecast
    speeds = (forecast.decode_tps, forecast.prefill_tps) if forecast else ()
    return (name, size, "yes", layers, *(map(format_speed, speeds) if speeds else (NOTHING, NOTHING)))


def plan_line(model: MoeModel, plan: Plan) -> str:
    """A plan in one line: context, KV cache, where the layers are."""
    return ", ".join((f"context {plan.context}", f"KV cache {plan.kv_type}", _where(model, plan)))


def forecast_lines(forecast: Forecast | None) -> tuple[str, ...]:
    """How fast it will be, and what most of the time goes to."""
    if forecast is None:
        return ("Nobody knows this machine's speed.",)
    speed = (
        f"decode {format_speed(forecast.decode_tps)} after {forecast.depth} tokens, "
        f"prefill {format_speed(forecast.prefill_tps)} ({forecast.basis}); bound by {forecast.bound_by}"
    )
    total = sum(milliseconds for _what, milliseconds in forecast.parts)
    large = [(what, part) for what, part in _largest(forecast.parts) if part >= _LEAST_SHARE * total]
    rest = total - sum(part for _what, part in large)
    parts = [f"{part:.1f} ms {what}" for what, part in (*large, ("other", rest)) if part > _LEAST_MS]
    return (speed, "per token: " + ", ".join(parts)) if parts else (speed,)


def _largest(parts: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(parts, key=lambda part: -part[1])


def _head(planned: Planned, plan: Plan) -> "Iterator[Text]":
    from rich.text import Text

    model = planned.model
    shape = f"{model.n_experts_used} of {model.n_experts} experts" if model.n_experts else "dense"
    facts = f"{model.name} {model.quantization}, {format_bytes(model.file_bytes)}, {model.n_layers} layers, {shape}"
    yield Text.assemble((single_line(planned.name), "bold"), "  ", single_line(facts))
    fits = planned.problem is None
    yield Text.assemble(
        ("fits" if fits else "does not fit", "bold" if fits else "bold red"), ": ", plan_line(model, plan)
    )
    if planned.problem is not None:
        yield Text(single_line(planned.problem.message))
    for line in forecast_lines(plan.forecast):
        yield Text(single_line(line))
    yield Text(
        f"ubatch {plan.ubatch}, load mode {plan.load_mode}, extra buffers {'on' if plan.extra_buffers else 'off'}"
    )


def _where(model: MoeModel, plan: Plan) -> str:
    if not plan.on_gpu:
        return "all on the CPU"
    layers = len(plan.layers)
    if model.n_experts:
        return f"experts of {plan.expert_layers} of {layers} layers in VRAM"
    return f"{min(plan.n_gpu_layers, layers)} of {layers} layers in VRAM"


def _device_row(share: Share) -> tuple[str, ...]:
    part = share.footprint
    left = share.budget - part.total
    sizes = (format_bytes(size) if size else NOTHING for size in (part.weights, part.kv, part.compute, part.copies))
    rest = format_bytes(left) if left >= 0 else f"-{format_bytes(-left)}"
    return single_line(share.device), format_bytes(share.budget), *sizes, rest


def _section(title: str, lines: Sequence[str]) -> "Iterator[RenderableType]":
    """A title and sentences below it, each with a hanging indent."""
    from rich.table import Table
    from rich.text import Text

    if not lines:
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row("-", single_line(line))
    yield Text()
    yield Text(title, style="bold")
    yield grid
