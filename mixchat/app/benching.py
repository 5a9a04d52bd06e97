"""How fast a model really runs here: what `mixchat bench` does.

Knows the order of the steps; refuses to know how a figure is measured, and tables.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from mixchat.app.comparing import Change, Kind, Measurement, compare
from mixchat.app.events import Measuring, Notice, Opened, OpenEvent
from mixchat.app.forecasting import forecast_at
from mixchat.app.house import House
from mixchat.app.machine import Speeds, machine_of, rated, types_of
from mixchat.app.measuring import DECODE, DEPTHS, Run
from mixchat.app.opening import Use, open_model
from mixchat.app.source import Source, finding
from mixchat.app.truth import Allocation, allocations
from mixchat.engine import platform
from mixchat.engine.build import build_identity
from mixchat.errors import InUse, OutputError
from mixchat.plan.units import format_bytes
from mixchat.store.history import Record, append, earlier
from mixchat.store.settings import Settings

COMPARED: Final = 5
"""Earlier runs that a result is compared with, at the most."""


@dataclass(frozen=True, slots=True)
class Exam:
    """What to measure: a model reference, depths and rounds as in `Run`; `force` loads what may not fit."""

    model: str
    depths: tuple[int, ...] | None = None
    rounds: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Benched:
    """The end.

    Attributes:
        source: The model.
        opened: How it was loaded.
        build: llama.cpp's build and the CPU.
        placement: Where it lay, in a line.
        prefill: Tokens of each measured prompt.
        left_out: Depths that would have taken too long to reach.
        measurements: By depth, prefill before decode; without what an interrupt left out.
        memory: Planned beside real.
        changes: Against earlier runs; none when there are none, or after an interrupt.
        complete: Everything was measured.
    """

    source: Source
    opened: Opened
    build: str
    placement: str
    prefill: int
    left_out: tuple[int, ...]
    measurements: tuple[Measurement, ...]
    memory: tuple[Allocation, ...]
    changes: tuple[Change, ...]
    complete: bool


BenchEvent = OpenEvent | Measuring | Benched


def bench(house: House, settings: Settings, exam: Exam) -> Iterator[BenchEvent]:
    """Load a model as for any answer, and measure it; ends with Benched, or without it when loading was interrupted.

    The machine's own speed is measured first, when that was not done before: the forecast rests on it. An interrupt of
    the engine ends it with what was measured so far. A complete run is compared with earlier ones of the same model,
    placement and build, and kept.

    Raises:
        MixchatError: Whatever finding, loading and running the model may raise.
    """
    source = yield from finding(house, exam.model, settings)
    yield from _bench(house, settings, exam, source)


def _bench(house: House, settings: Settings, exam: Exam, source: Source) -> Iterator[BenchEvent]:
    speeds = Speeds(measure=True)
    yield from rated(house, settings, machine_of(house, settings), types_of(source.model), speeds)
    opened = yield from open_model(house, source, settings, Use(force=exam.force))
    if opened is None:
        return
    run = Run(house.engine, opened.loaded.context, exam.depths, exam.rounds)
    if run.depths != tuple(dict.fromkeys(DEPTHS if exam.depths is None else exam.depths)):
        held = ", ".join(map(str, run.depths))
        yield Notice(f"The context has {opened.loaded.context} tokens, so the depths are {held}; --ctx gives more.")
    yield from run.measure()
    result = Benched(
        source,
        opened,
        f"{build_identity()}-{platform.cpu_identity()}",
        placement(opened),
        run.prefill,
        tuple(run.left_out),
        tuple(_measurements(run, opened)),
        allocations(opened.plan, opened.loaded.buffers),
        (),
        run.complete,
    )
    yield _compared(house, result) if run.complete else result


def placement(opened: Opened) -> str:
    """Where a model lies and what else its speed depends on, in a line."""
    plan, request = opened.plan, opened.request
    weights = ", ".join(
        f"{share.device} {format_bytes(share.footprint.weights)}" for share in plan.shares if share.footprint.weights
    )
    threads = "1 thread" if request.threads == 1 else f"{request.threads} threads"
    extra = ", extra buffers" if request.extra_buffers else ""
    experts = f", {request.experts_used} of {opened.model.n_experts} experts" if request.experts_used else ""
    return (
        f"{weights}; context {opened.loaded.context}, KV {request.kv_type}, ubatch {request.ubatch}, "
        f"{request.load_mode}{extra}{experts}, {threads}"
    )


def _measurements(run: Run, opened: Opened) -> Iterator[Measurement]:
    for (kind, depth), samples in run.samples.items():
        length = DECODE if kind == "decode" else run.prefill
        yield Measurement(kind, depth, tuple(samples), _forecast(opened, kind, depth + length // 2))


def _forecast(opened: Opened, kind: Kind, depth: int) -> float | None:
    """Tokens per second that the plan's arithmetic says for another depth than the plan's own."""
    forecast = forecast_at(opened.model, opened.machine, opened.plan, depth)
    if forecast is None:
        return None
    return forecast.decode_tps if kind == "decode" else forecast.prefill_tps


def _compared(house: House, result: Benched) -> Benched:
    """The result beside earlier ones; then it is one of them."""
    model = result.source.model
    record = Record(
        house.now(),
        result.build,
        f"{result.source.path.name} {model.quantization} {model.file_bytes}",
        result.placement,
        {each.name: each.median for each in result.measurements},
    )
    changes = compare(result.measurements, earlier(house.places, record, COMPARED))
    with suppress(OutputError, InUse):  # the figures are worth showing on a read-only disk too
        append(house.places, record)
    return replace(result, changes=changes)
