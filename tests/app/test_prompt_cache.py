"""A prompt's fixed beginning: where it ends, what is evaluated and kept, and that the answer stays the same."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.events import AnswerEvent, Notice, Opened
from mixchat.app.house import House
from mixchat.app.opening import open_model
from mixchat.app.prompt import Prompt, Segment, build
from mixchat.app.prompt_cache import Prepared, PromptCache, fixed_tokens
from mixchat.app.source import Format, located, prompt_format
from mixchat.chat.messages import Message
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import (
    Finished,
    GenerateRequest,
    Prefilling,
    Sampling,
    StateKept,
    StateKey,
    StateRestored,
    Timings,
    Token,
    Usage,
)
from mixchat.errors import EngineDied, EngineError, OutputError
from mixchat.store.places import Places
from mixchat.store.prompt_cache import entries
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import KeepingEngine

BUDGET = 1 << 30
FILE = "".join(f"Line {number} of a file.\n" for number in range(16))
PROMPT = tuple(range(400))
FIXED = 300


class Model:
    """A house with a loaded model, and answers through the cache."""

    def __init__(self, house: House, opened: Opened) -> None:
        self.house = house
        self.opened = opened

    def answer(self, tokens: tuple[int, ...] = PROMPT, fixed: int = FIXED, budget: int = BUDGET) -> list[AnswerEvent]:
        request = GenerateRequest(tokens, Sampling(temperature=0), 12, own_batch=fixed)
        cache = PromptCache(self.house, self.opened, budget)
        return list(cache.answer(tokens, fixed, lambda: self.house.engine.generate(request)))


@pytest.fixture
def engine() -> KeepingEngine:
    return KeepingEngine(*["answer"] * 9)


@pytest.fixture
def model(make_house: MakeHouse, settings: MakeSettings, model_file: Path, engine: KeepingEngine) -> Model:
    return loaded(make_house(engine), settings(ubatch=64), model_file)


def loaded(house: House, settings: object, path: Path) -> Model:
    (opened,) = (
        event
        for event in open_model(house, located(house, str(path)), settings)  # type: ignore[arg-type]
        if isinstance(event, Opened)
    )
    return Model(house, opened)


def end(events: list[AnswerEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def notices(events: list[AnswerEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def prefilled(events: list[AnswerEvent]) -> list[Prefilling]:
    return [event for event in events if isinstance(event, Prefilling)]


@pytest.mark.parametrize("question", ["Why?", "1", "\nx", "File"])
def test_all_in_front_of_the_question_is_fixed(model: Model, chatml_form: Format, question: str) -> None:
    messages = (Message("user", f"{FILE}\n{question}"),)
    prompt = build(model.house.engine, chatml_form, messages, {})
    assert fixed_tokens(model.house.engine, prompt, question) == 1 + len(f"{FILE}\n")
    assert fixed_tokens(model.house.engine, prompt, "") == len(prompt.tokens) - 1
    assert fixed_tokens(model.house.engine, prompt, "not in it") == 0
    assert fixed_tokens(model.house.engine, prompt, f"{FILE}\n{question}") == 0


def test_a_short_beginning_and_a_prompt_in_one_piece_have_nothing_fixed(model: Model, chatml_form: Format) -> None:
    engine = model.house.engine
    short = build(engine, chatml_form, (Message("user", "Hello. Why?"),), {})
    assert fixed_tokens(engine, short, "Why?") == 0
    assert fixed_tokens(engine, Prompt((Segment("template", "all", PROMPT),), ()), "all") == 0


def test_what_stands_in_earlier_messages_is_fixed(model: Model, chatml_form: Format) -> None:
    messages = (Message("user", FILE), Message("assistant", "Yes."), Message("user", "Why?"))
    prompt = build(model.house.engine, chatml_form, messages, {})
    assert fixed_tokens(model.house.engine, prompt, "Why?") == len(prompt.tokens) - len("Why?") - 1


def test_the_first_time_it_is_evaluated_and_kept(model: Model, engine: KeepingEngine, places: Places) -> None:
    events = model.answer()
    assert engine.evaluations == [PROMPT[:FIXED]]
    assert prefilled(events) == [Prefilling(0, 400, 0), Prefilling(300, 400, 0), Prefilling(300, 400, 0)]
    assert end(events).usage == Usage(400, 0, 6)
    (entry,) = entries(places)
    assert entry.tokens == FIXED


def test_the_second_time_nothing_of_it_is_evaluated(model: Model, engine: KeepingEngine) -> None:
    first = model.answer()
    engine.evaluations.clear()
    engine.generate(GenerateRequest((1, 2)))
    second = model.answer((*PROMPT[:FIXED], 7, 8, 9))
    assert engine.evaluations == []
    assert prefilled(second) == [Prefilling(300, 303, 300)]
    assert end(second).usage == Usage(303, 300, 6)
    assert notices(first) == notices(second) == []


def test_what_begins_alike_is_used_up_to_the_end_of_a_batch(
    model: Model, engine: KeepingEngine, places: Places
) -> None:
    model.answer()
    other = (*PROMPT[:200], *[7] * 200)
    events = model.answer(other)
    assert engine.evaluations == [PROMPT[:300], other[:192], other[:300]]
    assert end(events).usage.cached_tokens == 192
    assert len(entries(places)) == 2
    engine.evaluations.clear()
    assert end(model.answer((*PROMPT[:60], *[8] * 300))).usage.cached_tokens == 0, "not even one batch"
    assert end(model.answer(PROMPT, 280)).usage.cached_tokens == 256


@pytest.mark.parametrize(("fixed", "budget"), [(255, BUDGET), (0, BUDGET), (FIXED, 0), (FIXED, 100)])
def test_what_is_too_short_too_large_or_off_is_left_to_the_answer(
    model: Model, engine: KeepingEngine, places: Places, fixed: int, budget: int
) -> None:
    events = model.answer(PROMPT, fixed, budget)
    assert engine.evaluations == []
    assert entries(places) == ()
    assert engine.generations[0].own_batch == fixed
    assert end(events).usage == Usage(400, 0, 6)


def test_the_budget_holds(model: Model, places: Places) -> None:
    for number in range(4):
        model.answer((number, *PROMPT))
    size = entries(places)[0].nbytes
    first = entries(places)[-1].name
    model.answer((5, *PROMPT), budget=3 * size)
    assert len(entries(places)) == 3
    assert first not in {each.name for each in entries(places)}


def test_other_placements_have_states_of_their_own(model: Model, engine: KeepingEngine, places: Places) -> None:
    model.answer()
    for change in ({"threads": 7}, {"ubatch": 128}, {"experts_used": 1}, {"kv_type": "q8_0"}, {"extra_buffers": False}):
        request = replace(model.opened.request, **change)
        engine.evaluations.clear()
        Model(model.house, replace(model.opened, request=request)).answer()
        assert engine.evaluations == [PROMPT[:FIXED]], change
    assert len(entries(places)) == 6
    same = replace(model.opened.request, load_mode="copy", read_ahead=False, context=1024)
    engine.evaluations.clear()
    Model(model.house, replace(model.opened, request=same)).answer()
    assert engine.evaluations == []


def test_a_model_file_that_is_gone_still_has_a_name(model: Model, places: Places) -> None:
    request = replace(model.opened.request, path="gone.gguf")
    Model(model.house, replace(model.opened, request=request)).answer()
    assert len(entries(places)) == 1


def test_a_state_that_is_refused_is_evaluated_and_kept_again(
    model: Model, engine: KeepingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.answer()
    engine.evaluations.clear()
    refusals = iter([StateRestored(0, "The kept state is damaged."), StateRestored(7)])
    with monkeypatch.context() as patched:
        patched.setattr(engine, "restore_state", lambda _path, _key: next(refusals))
        events = model.answer()
        assert notices(events) == ["The kept state is damaged. What was kept of this prompt is evaluated again."]
        assert end(events).usage == Usage(400, 0, 6)
        assert len(notices(model.answer())) == 1, "another number of tokens than it should have"
    assert engine.evaluations == [PROMPT[:FIXED]] * 2
    assert notices(model.answer()) == []
    assert end(model.answer()).usage.cached_tokens == FIXED


def test_a_state_that_another_process_removes_meanwhile_is_no_trouble(
    model: Model, engine: KeepingEngine, places: Places
) -> None:
    model.answer()
    engine.on_step = lambda step: shutil.rmtree(places.cache) if step == "restore" else None
    engine.kept.clear()
    events = model.answer()
    assert notices(events) == []
    assert end(events).usage == Usage(400, 0, 6)


@pytest.mark.parametrize("error", [OutputError("The disk is full.", "Free space."), EngineError("No.", "Hm.")])
def test_a_state_that_cannot_be_kept_is_told_and_the_answer_comes(
    model: Model, engine: KeepingEngine, monkeypatch: pytest.MonkeyPatch, error: Exception, places: Places
) -> None:
    def fails(_path: str, _key: StateKey) -> StateKept:
        raise error

    monkeypatch.setattr(engine, "keep_state", fails)
    events = model.answer()
    assert notices(events) == [f"The evaluated prompt is not kept: {error.args[0]} Asking again evaluates it again."]
    assert end(events).reason == "stop"
    assert entries(places) == ()


def test_an_evaluation_that_fails_is_the_answer_s_to_tell(
    model: Model, engine: KeepingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_tokens: object) -> Iterator[Prefilling]:
        raise EngineError("No room.", "Less.")

    monkeypatch.setattr(engine, "evaluate", fails)
    events = model.answer()
    assert end(events).usage == Usage(400, 0, 6)
    assert notices(events) == []


@pytest.mark.parametrize(("step", "left"), [("evaluate", 0), ("keep", 0), ("restore", 0)])
def test_an_engine_that_dies_says_so_and_what_killed_it_is_gone(
    model: Model, engine: KeepingEngine, places: Places, step: str, left: int
) -> None:
    if step == "restore":
        model.answer()
    engine.dies_at = step
    with pytest.raises(EngineDied):
        model.answer()
    assert len(entries(places)) == left


def test_an_interrupt_leaves_no_answer_and_nothing_kept(model: Model, engine: KeepingEngine, places: Places) -> None:
    engine.on_step = lambda step: engine.interrupt() if step == "evaluate" else None
    events = model.answer()
    assert end(events).reason == "interrupted"
    assert end(events).usage == Usage(400, 0, 0)
    assert engine.generations == []
    assert entries(places) == ()


def test_an_interrupt_while_it_is_cut_back_stops_all_the_same(
    model: Model, engine: KeepingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.answer()
    engine.evaluations.clear()

    def forgets(tokens: tuple[int, ...]) -> Iterator[Prefilling]:
        engine.evaluations.append(tokens)
        yield Prefilling(0, len(tokens), 0)

    monkeypatch.setattr(engine, "evaluate", forgets)
    events = model.answer((*PROMPT[:200], *[7] * 200))
    assert len(engine.evaluations) == 1
    assert (end(events).reason, end(events).usage) == ("interrupted", Usage(400, 0, 0))


def test_times_and_speed_count_what_was_done_before() -> None:
    prepared = Prepared(400, 300, 100, prefill_ms=2000.0, keep_ms=500.0)
    timings = Timings(load_ms=1.0, prefill_ms=1000.0, decode_ms=7.0, ttft_ms=1000.0, prefill_tps=100.0, decode_tps=9.0)
    found = prepared.counted(Finished("stop", Usage(400, 300, 5), timings))
    assert found == Finished("stop", Usage(400, 100, 5), Timings(1.0, 3000.0, 7.0, 3500.0, 100.0, 9.0))
    assert prepared.counted(Token("a", 1)) == Token("a", 1)
    assert Prepared(400).counted(Prefilling(3, 4, 3)) == Prefilling(3, 4, 3)
    assert Prepared(400, interrupted=True).stopped() == Finished("interrupted", Usage(400, 0, 0), Timings())


def test_the_demo_answers_the_same_from_the_disk(places: Places, demo_model: Path, settings: MakeSettings) -> None:
    """Four processes: evaluated and kept, from the disk, without the cache, and with a damaged state."""
    from mixchat.models.registry import load_registry
    from tests.app.conftest import SOUND

    said, ends, told = [], [], []
    fixed, total = 0, 0
    for budget, damaged in ((BUDGET, False), (BUDGET, False), (0, False), (BUDGET, True)):
        if damaged:
            (path,) = (places.cache / "prompts").glob("*.kv")
            content = bytearray(path.read_bytes())
            content[-1000] ^= 1
            path.write_bytes(content)
        with closing(WorkerClient(os.environ)) as engine:
            house = House(places, load_registry(), engine, lambda: (SOUND, False))
            model = loaded(house, settings(ctx=768, threads=2, ubatch=128), demo_model)
            messages = (Message("system", "You are brief."), Message("user", f"{FILE * 2}\n\nWhich line is first?"))
            prompt = build(engine, prompt_format(located(house, str(demo_model))), messages, {})
            fixed, total = fixed_tokens(engine, prompt, "Which line is first?"), len(prompt.tokens)
            events = model.answer(prompt.tokens, fixed, budget)
            said.append([event.id for event in events if isinstance(event, Token)])
            ends.append(end(events).usage.cached_tokens)
            told.append(notices(events))
    assert 256 <= fixed < total
    assert said == [said[0]] * 4
    assert ends == [0, fixed, 0, 0]
    assert told[:3] == [[], [], []]
    assert "checksum is not right" in told[3][0]
