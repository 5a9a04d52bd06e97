from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mixchat.app.benching import Benched, BenchEvent, Exam, bench, placement
from mixchat.app.events import Measuring, Notice
from mixchat.app.house import House
from mixchat.app.measuring import DECODE, PREFILL, Run
from mixchat.engine.events import (
    BufferSize,
    Finished,
    FinishReason,
    GenerateEvent,
    GenerateRequest,
    Loaded,
    Loading,
    LoadRequest,
    Prefilling,
    Timings,
    Token,
    Usage,
)
from mixchat.errors import EngineDied
from mixchat.plan.values import Footprint
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import FakeEngine
from tests.fakes.plans import GIB, VRAM, opened, plan_of

NOW = datetime(2026, 11, 2, tzinfo=UTC)


class Stopwatch(FakeEngine):
    """Prefill runs at 250 tokens a second and decoding at 40.

    Attributes:
        slower: Added to every time, as a factor.
        seconds: How long it worked so far.
        ends: Answers end after so many tokens.
        forgets: It cannot cut its KV cache back and evaluates everything again.
        stops_at: The request that is interrupted.
    """

    def __init__(self, ends: int = 10**6, *, forgets: bool = False, stops_at: int = 10**6) -> None:
        super().__init__()
        self.slower = 1.0
        self.seconds = 0.0
        self.ends = ends
        self.forgets = forgets
        self.stops_at = stops_at

    def load(self, request: LoadRequest) -> Iterator[Loading | Loaded]:
        for event in super().load(request):
            buffers = (BufferSize("CPU_Mapped", "model", 2 << 20), BufferSize("CPU", "kv", 1 << 20))
            yield replace(event, buffers=buffers) if isinstance(event, Loaded) else event

    def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
        assert request.max_tokens
        self.generations.append(request)
        pairs = zip(self._held, request.tokens, strict=False)
        same = next((index for index, (a, b) in enumerate(pairs) if a != b), len(self._held))
        total = len(request.tokens)
        cached = 0 if self.forgets else min(same, total - 1)
        yield Prefilling(total, total, cached)
        if len(self.generations) == self.stops_at:
            yield Finished("interrupted", Usage(total, cached, 0), Timings())
            return
        count = min(request.max_tokens, self.ends)
        yield from (Token("a", 1) for _token in range(count))
        self._held = request.tokens
        yield self._end(total, cached, count, "length" if count == request.max_tokens else "stop")

    def _end(self, total: int, cached: int, count: int, reason: FinishReason) -> Finished:
        prefill = 1000 * (total - cached) / 250 * self.slower
        decode = 1000 * (count - (reason != "stop")) / 40 * self.slower
        self.seconds += (prefill + decode) / 1000
        timings = Timings(prefill_ms=prefill, decode_ms=decode, prefill_tps=250 / self.slower)
        return Finished(reason, Usage(total, cached, count), timings)


def run(house: House, settings: MakeSettings, path: Path, **exam: object) -> list[BenchEvent]:
    return list(bench(house, settings(ctx=512), Exam(str(path), **exam)))  # type: ignore[arg-type]


def result(events: list[BenchEvent]) -> Benched:
    assert isinstance(events[-1], Benched)
    return events[-1]


def measured(
    engine: Stopwatch, context: int, depths: tuple[int, ...] | None, rounds: int | None
) -> tuple[Run, list[Measuring]]:
    list(engine.load(LoadRequest("a.gguf", context=context)))
    run = Run(engine, context, depths, rounds, lambda: engine.seconds)
    return run, list(run.measure())


def test_each_depth_is_measured_as_often_as_asked() -> None:
    run, progress = measured(Stopwatch(), 8192, (0, 1024, 4096), 3)
    assert run.complete
    assert run.depths == (0, 1024, 4096)
    assert {key: len(samples) for key, samples in run.samples.items()} == {
        (kind, depth): 3 for depth in run.depths for kind in ("prefill", "decode")
    }
    assert run.samples["decode", 1024] == pytest.approx([40.0] * 3)
    assert run.samples["prefill", 1024] == pytest.approx([250.0] * 3)
    fractions = [event.fraction for event in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.97
    assert "decode at 4096, round 3 of 3" in {event.what for event in progress}


def test_what_counts_follows_the_depth_and_nothing_else() -> None:
    engine = Stopwatch()
    measured(engine, 8192, (1024,), 2)
    warm, start, *rounds = engine.generations
    assert (len(warm.tokens), warm.max_tokens) == (64, 8)
    assert (len(start.tokens), start.max_tokens) == (1024, 1)
    assert [(len(each.tokens), each.max_tokens) for each in rounds] == [(1024 + PREFILL, 1), (1024, DECODE + 1)] * 2
    assert all(each.tokens[:1024] == start.tokens for each in rounds)


def test_every_round_has_a_passage_and_a_seed_of_its_own() -> None:
    engine = Stopwatch()
    measured(engine, 8192, (0,), 3)
    prompts = [each.tokens for each in engine.generations if each.max_tokens == 1][1:]
    assert len(set(prompts)) == 3
    assert all(len(set(prompt)) > 20 for prompt in prompts), "no repeated token"
    seeds = [each.sampling.seed for each in engine.generations if each.max_tokens == DECODE + 1]
    assert len(set(seeds)) == 3
    assert None not in {each.sampling.seed for each in engine.generations}


def test_an_answer_that_ends_early_is_followed_by_another() -> None:
    engine = Stopwatch(ends=20)
    run, _progress = measured(engine, 8192, (0,), 1)
    decodes = [each for each in engine.generations if each.tokens == engine.generations[1].tokens][1:]
    assert [each.max_tokens for each in decodes] == [65, 45, 25, 5]
    assert len({each.sampling.seed for each in decodes}) == 4
    assert run.samples["decode", 0] == pytest.approx([40.0])


def test_a_model_that_says_nothing_has_no_decoding_speed() -> None:
    run, _progress = measured(Stopwatch(ends=0), 8192, (0,), 1)
    assert set(run.samples) == {("prefill", 0)}
    assert run.complete


def test_a_prefill_from_the_beginning_is_not_one_behind_the_depth() -> None:
    run, _progress = measured(Stopwatch(forgets=True), 8192, (0, 1024), 1)
    assert set(run.samples) == {("prefill", 0), ("decode", 0), ("decode", 1024)}


@pytest.mark.parametrize(
    ("context", "prefill", "depths"),
    [(8192, 512, (0, 1024, 4096)), (4096, 512, (0, 1024, 3582)), (1024, 512, (0, 510)), (256, 128, (0, 126))],
)
def test_depths_are_capped_by_the_context(context: int, prefill: int, depths: tuple[int, ...]) -> None:
    engine = Stopwatch()
    run, _progress = measured(engine, context, (0, 1024, 4096), 1)
    assert (run.prefill, run.depths) == (prefill, depths)
    assert max(len(each.tokens) + (each.max_tokens or 0) for each in engine.generations) <= context


def test_a_depth_beyond_the_story_begins_it_again() -> None:
    engine = Stopwatch()
    run, _progress = measured(engine, 100_000, (90_000,), 1)
    assert run.complete
    assert max(len(each.tokens) for each in engine.generations) == 90_000 + PREFILL


@pytest.mark.parametrize(
    ("slower", "rounds", "left_out"),
    [
        (0.5, {0: 3, 1024: 3, 4096: 1}, []),
        (1.0, {0: 3, 1024: 1, 4096: 1}, []),
        (2.0, {0: 2, 1024: 1}, [4096]),
        (10.0, {0: 1}, [1024, 4096]),
    ],
)
def test_what_nobody_asked_for_is_not_waited_for(slower: float, rounds: dict[int, int], left_out: list[int]) -> None:
    engine = Stopwatch()
    engine.slower = slower
    run, _progress = measured(engine, 8192, None, None)
    assert {depth: len(samples) for (kind, depth), samples in run.samples.items() if kind == "decode"} == rounds
    assert run.left_out == left_out
    assert run.complete
    assert engine.seconds < 60


def test_what_was_asked_for_is_waited_for() -> None:
    engine = Stopwatch()
    engine.slower = 100.0
    run, _progress = measured(engine, 8192, (0, 4096), 2)
    assert [len(samples) for samples in run.samples.values()] == [2] * 4


def test_an_interrupt_keeps_what_there_is() -> None:
    run, _progress = measured(Stopwatch(stops_at=5), 8192, (0, 1024), 2)
    assert not run.complete
    assert run.samples == {("prefill", 0): [250.0], ("decode", 0): [40.0]}


def test_the_result_has_plan_and_truth(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    events = run(make_house(Stopwatch()), settings, model_file, rounds=1)
    found = result(events)
    assert [(each.kind, each.depth, each.median) for each in found.measurements] == [
        ("prefill", 0, 250.0),
        ("decode", 0, 40.0),
        ("prefill", 254, 250.0),
        ("decode", 254, 40.0),
    ]
    assert [text.text for text in events if isinstance(text, Notice)] == [
        "The context has 512 tokens, so the depths are 0, 254; --ctx gives more."
    ]
    assert found.complete
    assert found.changes == ()
    (ram,) = found.memory
    assert (ram.device, ram.real.kv) == ("CPU", 1 << 20)
    assert ram.planned == found.opened.plan.share("CPU").footprint


def test_later_runs_are_compared(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = Stopwatch()
    house = make_house(engine)
    house = House(house.places, house.registry, engine, house.prove, now=lambda: NOW)
    for _time in range(2):
        run(house, settings, model_file, depths=(0,), rounds=1)
    engine.slower = 1.25
    changes = result(run(house, settings, model_file, depths=(0,), rounds=1)).changes
    assert [(each.kind, each.runs, each.since, each.regression) for each in changes] == [
        ("prefill", 2, NOW, True),
        ("decode", 2, NOW, True),
    ]
    assert [each.change for each in changes] == pytest.approx([-0.2, -0.2], abs=1e-3)
    other = list(bench(house, settings(ctx=256), Exam(str(model_file), (0,), 1)))
    assert result(other).changes == (), "another placement"


def test_an_interrupted_run_is_not_kept(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    house = make_house(Stopwatch(stops_at=4))
    found = result(run(house, settings, model_file, rounds=1))
    assert (found.complete, len(found.measurements), found.changes) == (False, 1, ())
    assert not (house.places.state / "bench-history.jsonl").exists()


def test_an_interrupted_load_has_no_result(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = Stopwatch()
    events = []
    for event in bench(make_house(engine), settings(), Exam(str(model_file))):
        events.append(event)
        engine.interrupt()
    assert not any(isinstance(event, Benched) for event in events)


def test_a_dead_engine_is_told(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine("a" * 100, dies_at="prefill")
    with pytest.raises(EngineDied):
        run(make_house(engine), settings, model_file)


def test_a_read_only_disk_costs_the_history_only(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    house = make_house(Stopwatch())
    house.places.state.parent.mkdir(parents=True, exist_ok=True)
    house.places.state.write_text("a file where the folder should be")
    assert result(run(house, settings, model_file, rounds=1)).complete


def test_the_placement_says_what_speed_depends_on() -> None:
    plan = plan_of(Footprint(20 * GIB), ("CUDA0", VRAM))
    assert placement(opened(plan=plan)) == (
        "CUDA0 6.0 GiB, CPU 20.0 GiB; context 8192, KV f16, ubatch 512, mmap, 1 thread"
    )
    fewer = replace(opened(plan=plan), request=LoadRequest("mixtral.gguf", extra_buffers=True, experts_used=1))
    assert placement(fewer).endswith("mmap, extra buffers, 1 of 8 experts, 1 thread")


def test_the_forecast_is_that_of_the_experts_used(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    def forecasts(**flags: object) -> list[float]:
        house = make_house(Stopwatch())
        events = list(bench(house, settings(ctx=512, **flags), Exam(str(model_file), (0,), 1)))
        return [each.forecast for each in result(events).measurements if each.forecast]

    usual, more = forecasts(), forecasts(experts_used=4)
    assert len(usual) == len(more) == 2
    assert all(slower < faster for slower, faster in zip(more, usual, strict=True))
