"""`mixchat bench`."""

import os
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mixchat.cli.options import ModelOption, OutputOptions, PlacementOptions, command
from mixchat.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mixchat.app.benching import Benched, BenchEvent, Exam
    from mixchat.app.comparing import Change, Measurement
    from mixchat.app.house import House
    from mixchat.app.truth import Allocation
    from mixchat.cli.stopping import Stop
    from mixchat.plan.values import Footprint
    from mixchat.store.settings import Settings

_MOST_ROUNDS: Final = 100
_MOST_DEPTHS: Final = 32
_DEEPEST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What only `bench` takes."""

    depths: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N]",
            help="Tokens of context to measure at; by default 0, 1024 and 4096, less what takes over 20 s to reach.",
        ),
    ] = None
    rounds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Measure each so often, for medians; by default 3 times, after 15 s once."),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "bench")
    def bench(
        reference: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Which model; see -m.")] = None,
        *,
        model: ModelOption = None,
        measured: BenchOptions,
        placement: PlacementOptions,
        output: OutputOptions,
    ) -> int:
        """Measure prefill and decode of a model beside the forecast, and memory beside the plan."""
        from mixchat.app.benching import Exam
        from mixchat.cli.request import model_of, settings_of
        from mixchat.cli.stopping import stoppable
        from mixchat.cli.wiring import open_house

        settings = settings_of(placement)
        name = model_of(settings, reference, model)
        exam = Exam(name, _depths(measured.depths), _rounds(measured.rounds), placement.force)
        # Between two measurements nothing runs that could be interrupted, and the next one begins with an event.
        with (
            open_house(debug=output.debug) as house,
            stoppable(lambda: house.engine.interrupt() or True, _has_begun) as stop,
        ):
            result = _run(house, settings, exam, stop, quiet=output.quiet)
            if result is not None:
                _show(result, as_json=measured.json)
        return 0


def _depths(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > _MOST_DEPTHS or not all(part.isascii() and part.isdecimal() for part in parts):
        raise UsageError(f"--depths: {text[:80]!r} are no numbers of tokens.", "Write them like 0,1024,4096.")
    depths = tuple(dict.fromkeys(int(part) for part in parts))
    if max(depths) > _DEEPEST:
        raise UsageError(f"--depths: {max(depths)} is more than any context.", "Write them like 0,1024,4096.")
    return depths


def _rounds(count: int | None) -> int | None:
    if count is not None and not 0 < count <= _MOST_ROUNDS:
        raise UsageError(f"--rounds is {count}.", f"Give 1 to {_MOST_ROUNDS}.")
    return count


def _run(house: "House", settings: "Settings", exam: "Exam", stop: "Stop", *, quiet: bool) -> "Benched | None":
    """The result; of a part after Ctrl-C, None when nothing had been measured by then."""
    from mixchat.app.benching import Benched, bench
    from mixchat.ui.progress import shown

    def measured() -> "Iterator[BenchEvent]":
        for event in bench(house, settings, exam):
            if stop.asked:
                house.engine.interrupt()
            yield event

    result = None
    for event in shown(stop.watched(measured()), exam.model, sys.stderr, os.environ, quiet):
        result = event if isinstance(event, Benched) else None
    return result if result is not None and (result.complete or result.measurements) else None


def _has_begun(event: object) -> bool:
    from mixchat.app.events import Measuring

    return isinstance(event, Measuring)


def _show(result: "Benched", *, as_json: bool) -> None:
    from mixchat.cli.facts import json_text
    from mixchat.ui.bench import bench_view
    from mixchat.ui.output import print_out, write_text

    if as_json:
        write_text(sys.stdout, json_text(bench_facts(result)))
    else:
        print_out(sys.stdout, os.environ, bench_view(result))


def bench_facts(result: "Benched") -> dict[str, object]:
    """Everything that was found out; scripts rely on these keys.

    `build` is llama.cpp's build and the CPU; `placement` is the line that earlier runs must share to be compared.
    `devices` have bytes `planned` and `real`. `results` have tokens per second: the `samples` of the rounds, their
    median `tps`, their `spread` (slowest to fastest, relative to the median), the `forecast_tps` for that depth and the
    `ratio` of measured to forecast (null when nobody knows the machine's speed). `history` has the relative `change`
    against the median of `runs` earlier runs; it is a `regression` when slower by more than the `allowed` spread.
    `left_out` are depths that took too long to reach; `complete` is false after an interrupt.
    """
    opened, request = result.opened, result.opened.request
    return {
        "model": opened.name,
        "path": request.path,
        "quantization": opened.model.quantization,
        "build": result.build,
        "placement": result.placement,
        "context": opened.loaded.context,
        "kv_type": request.kv_type,
        "ubatch": request.ubatch,
        "threads": request.threads,
        "load_mode": request.load_mode,
        "extra_buffers": request.extra_buffers,
        "layers": opened.model.n_layers,
        "experts_used": opened.model.n_experts_used,
        "expert_layers": opened.plan.expert_layers,
        "n_gpu_layers": opened.plan.n_gpu_layers,
        "load_ms": round(opened.loaded.load_ms, 1),
        "devices": [_device(each) for each in result.memory],
        "results": [_figure(each) for each in result.measurements],
        "history": [_history(each) for each in result.changes],
        "left_out": list(result.left_out),
        "complete": result.complete,
    }


def _device(found: "Allocation") -> dict[str, object]:
    return {
        "name": found.device,
        "kind": found.kind,
        "planned": _bytes(found.planned),
        "real": _bytes(found.real),
        "off": found.off,
    }


def _bytes(footprint: "Footprint") -> dict[str, int]:
    return {**asdict(footprint), "total": footprint.total}


def _figure(measured: "Measurement") -> dict[str, object]:
    return {
        "kind": measured.kind,
        "depth": measured.depth,
        "tps": round(measured.median, 3),
        "spread": round(measured.spread, 4),
        "samples": [round(sample, 3) for sample in measured.samples],
        "forecast_tps": None if measured.forecast is None else round(measured.forecast, 3),
        "ratio": None if measured.ratio is None else round(measured.ratio, 4),
    }


def _history(change: "Change") -> dict[str, object]:
    return {
        "kind": change.kind,
        "depth": change.depth,
        "change": round(change.change, 4),
        "allowed": round(change.allowed, 4),
        "runs": change.runs,
        "since": change.since.isoformat(timespec="seconds"),
        "regression": change.regression,
    }
