"""A model that does not stay in memory is noticed, named once, and told with what helps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.events import Notice, Opened
from mixchat.app.paging import FEWEST_FAULTS, Watch
from mixchat.app.source import Source
from mixchat.engine import platform
from mixchat.engine.events import Finished, GenerateEvent, Timings, Token, Usage
from mixchat.gguf.header import parse_header
from mixchat.models.registry import load_registry
from mixchat.plan.values import Footprint, Forecast, Plan
from tests.builders import mixtral_header
from tests.fakes.plans import GIB, VRAM, mixtral, opened, plan_of

FORECAST = Forecast(8.0, 50.0, 1024, "reading the experts", "measured")
MANY = 5_000_000
"""Faults: 20 GB."""


def source(alias: str | None = "mixtral") -> Source:
    entry = load_registry().get(alias) if alias else None
    header = parse_header(mixtral_header("static/Q4_K_M"))
    return Source("mixtral", Path("mixtral.gguf"), entry, header, mixtral())


def ram_plan(missing: int = 4 * GIB, forecast: Forecast | None = FORECAST, kv: int = GIB) -> Plan:
    footprint = Footprint(26 * GIB, kv, GIB // 2)
    return plan_of(footprint, budget=footprint.total - missing, forecast=forecast)


def warm(plan: Plan) -> Opened:
    return opened(plan=plan)


def cold(plan: Plan) -> Opened:
    """Nothing was read ahead and half of the file is not in memory yet."""
    ready = opened(plan=plan)
    request = replace(ready.request, read_ahead=False)
    return replace(ready, loaded=replace(ready.loaded, mapped=26 * GIB, resident=13 * GIB), request=request)


def finished(faults: int, speed: float, tokens: int = 100, prompt: int = 600) -> Finished:
    return Finished("stop", Usage(prompt, 0, tokens), Timings(decode_tps=speed, major_faults=faults))


def said(watch: Watch, end: Finished) -> list[str]:
    """Notices behind an answer."""

    def answer() -> Iterator[GenerateEvent]:
        yield Token("a", 1)
        yield end

    events = list(watch.over(answer()))
    assert events[:2] == [Token("a", 1), end]
    return [event.text for event in events[2:] if isinstance(event, Notice)]


@pytest.fixture(autouse=True)
def _ram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: 30 * GIB)


def test_paging_is_named_with_what_is_missing_and_what_fits() -> None:
    watch = Watch(source(), warm(ram_plan()))
    (text,) = said(watch, finished(MANY, 0.5))
    assert text == (
        "mixtral does not stay in memory: the answer waited 5000000 times for the disk; about 4.0 GiB of RAM are "
        "missing. Q3_K_M (21.0 GiB) fits: mixchat pull mixtral:Q3_K_M"
    )


def test_it_is_said_once_per_load() -> None:
    watch = Watch(source(), warm(ram_plan()))
    assert [len(said(watch, finished(MANY, 0.5))) for _answer in range(3)] == [1, 0, 0]


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        (0, False),
        (FEWEST_FAULTS, False),
        # 100 tokens read 7.4 GiB of the 26 GiB in RAM each, and two batches of the prompt all: 0.1 % are 206,000 pages.
        (190_000, False),
        (225_000, True),
    ],
)
def test_faults_are_many_beside_what_is_read(faults: int, told: bool) -> None:
    assert bool(said(Watch(source(), warm(ram_plan())), finished(faults, 8.0))) == told


def test_few_faults_are_none_whatever_is_read() -> None:
    watch = Watch(source(), warm(plan_of(Footprint(), ("CUDA0", VRAM), forecast=FORECAST)))
    assert said(watch, finished(FEWEST_FAULTS, 8.0)) == []
    assert "other programs took the RAM. Close other programs" in said(watch, finished(FEWEST_FAULTS + 1, 8.0))[0]


def test_the_first_answer_may_read_the_file_when_it_is_fast_enough() -> None:
    watch = Watch(source(), cold(ram_plan()))
    assert said(watch, finished(MANY, 7.0)) == []
    assert len(said(watch, finished(MANY, 7.0))) == 1
    assert len(said(Watch(source(), cold(ram_plan())), finished(MANY, 1.0))) == 1


def test_ram_that_others_took_since_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: 17 * GIB)
    (text,) = said(Watch(source(), warm(ram_plan(missing=0))), finished(MANY, 0.5))
    assert "about 9.0 GiB of RAM are missing. i1-IQ3_XXS (17.0 GiB) fits" in text


def test_a_smaller_context_helps_where_no_file_is_known() -> None:
    (text,) = said(Watch(source(None), warm(ram_plan(GIB, kv=4 * GIB))), finished(MANY, 0.5))
    assert text.endswith("are missing. --ctx 4096 needs 2.0 GiB less.")
    (text,) = said(Watch(source(None), warm(ram_plan())), finished(MANY, 0.5))
    assert text.endswith("are missing. Close other programs, or use a smaller model.")


def test_a_gpu_far_below_the_forecast_may_have_spilled() -> None:
    plan = plan_of(Footprint(20 * GIB), ("CUDA0", VRAM), forecast=FORECAST)
    watch = Watch(source(), warm(plan))
    assert said(watch, finished(0, 2.7)) == []
    assert said(watch, finished(0, 2.6, tokens=15)) == []
    (text,) = said(watch, finished(0, 2.6))
    assert text.startswith("Decoding at 2.6 tokens/s is far below the forecast of 8.0: CUDA0 may have spilled into RAM")
    assert said(watch, finished(0, 2.6)) == []


@pytest.mark.parametrize("forecast", [None, replace(FORECAST, basis="given")])
def test_a_speed_that_nobody_measured_is_no_measure(forecast: Forecast | None) -> None:
    plan = plan_of(Footprint(20 * GIB), ("CUDA0", VRAM), forecast=forecast)
    assert said(Watch(source(), warm(plan)), finished(0, 0.1)) == []


def test_a_slow_cpu_without_faults_is_only_busy() -> None:
    assert said(Watch(source(), warm(ram_plan())), finished(0, 0.1)) == []
