from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mixchat.app.tracing
from mixchat.app.asking import Question, ask
from mixchat.app.events import Notice, Traced, Tracing
from mixchat.app.house import House
from mixchat.app.tracing import SHOWN, Inquiry, Passage, Tracer, between, check_routers, check_trace, trace_texts
from mixchat.chat.messages import Message
from mixchat.engine.events import DeviceInfo, LoadRequest, Token
from mixchat.errors import DoesNotFit, EngineDied, UsageError
from mixchat.routing.choices import Choices
from mixchat.routing.classes import TokenClass
from mixchat.store.settings import Settings
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import MARKUP, FakeEngine, by_token
from tests.fakes.plans import mixtral, opened

MODEL = mixtral()
BOS = MARKUP


class Marking(FakeEngine):
    """An engine whose prompts begin with a token of their own."""

    def tokenize(self, pieces: object, *, prompt: bool) -> tuple[tuple[int, ...], ...]:
        (first, *others) = super().tokenize(pieces, prompt=prompt)  # type: ignore[arg-type]
        if not self._markup:
            self._markup.append("<s>")
        return ((BOS, *first) if prompt else first, *others)


def tracer(engine: FakeEngine) -> Tracer:
    list(engine.load(LoadRequest("model.gguf")))
    return Tracer(engine, opened())


def passage(text: str, name: str = "a.txt") -> Passage:
    return Passage(name, len(text.encode()), lambda: text)


def inquiry(path: Path, *groups: tuple[str, ...]) -> Inquiry:
    return Inquiry(str(path), tuple((f"group {at}", tuple(map(passage, texts))) for at, texts in enumerate(groups)))


Run = Callable[..., list[object]]


@pytest.fixture
def run(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> Run:
    def go(engine: FakeEngine, *groups: tuple[str, ...], stopped: Callable[[], bool] = lambda: False) -> list[object]:
        return list(trace_texts(make_house(engine), settings(ctx=256), inquiry(model_file, *groups), stopped))

    return go


def traced(events: Iterable[object]) -> list[Traced]:
    return [event for event in events if isinstance(event, Traced)]


texts_to_cut = st.text(st.sampled_from("ab é日👩\n\r\t "), max_size=400)


@given(texts_to_cut, st.integers(1, 40))
def test_pieces_cover_the_text_exactly_and_are_never_too_long(text: str, room: int) -> None:
    engine = Marking()
    cutter = tracer(engine)
    assert cutter.lead == (BOS,)
    found = list(cutter.pieces(text, room + 1))
    assert all(0 < len(ids) <= room for _end, ids in found)
    assert "".join("".join(engine.texts(ids)) for _end, ids in found) == text
    ends = [0, *(end for end, _ids in found)]
    assert ends == sorted(set(ends))
    assert ends[-1] == len(text)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("one two three", ["one two", " three"]),
        ("one\ntwo three", ["one\ntwo", " three"]),
        ("a b c\nd e f", ["a b c\n", "d e f"]),
        ("a\nbcde fgh ijk", ["a\nbcde", " fgh ijk"]),
        ("x" * 17, ["x" * 8, "x" * 8, "x"]),
        (" " * 9, [" " * 7, "  "]),
        ("日本語" * 3, ["日本語日本語日本", "語"]),
    ],
)
def test_pieces_end_where_lines_or_words_do(text: str, pieces: list[str]) -> None:
    cutter = tracer(Marking())
    cutter._letters = 1.0
    ends = [end for end, _ids in cutter.pieces(text, 9)]
    assert [text[start:end] for start, end in zip([0, *ends], ends, strict=False)] == pieces


def test_a_huge_line_is_cut_in_few_pieces() -> None:
    engine = Marking()
    found = list(tracer(engine).pieces("x" * 1_000_000, 8192))
    assert sum(len(ids) for _end, ids in found) == 1_000_000
    assert len(found) < 160


def test_blocks_are_cut_by_position() -> None:
    block = Choices(3, 4, 2, (0, 1, 2, 3, 4, 5), (0.1,) * 6)
    assert between(block, 0, 99) == block
    assert between(block, 5, 6) == Choices(3, 0, 2, (2, 3), (0.1, 0.1))
    assert between(block, 2, 5) == Choices(3, 2, 2, (0, 1), (0.1, 0.1))
    for start, end in ((9, 20), (0, 4), (7, 7), (5, 5), (9, 5)):
        assert between(block, start, end).count == 0


def test_a_text_is_traced_without_the_token_in_front(run: Run) -> None:
    engine = Marking()
    events = run(engine, ("def f",))
    (found,) = traced(events)
    assert (found.name, found.complete, found.text.tokens) == ("group 0", True, tuple("def f"))
    assert found.report.tokens == 5
    assert [request.tokens for request in engine.traces] == [(BOS, *map(ord, "def f"))]
    expected = tuple(expert for letter in "def f" for expert in by_token(0, ord(letter))[0])
    assert found.text.layer(0).experts == expected
    assert found.report.layers[0].repeats.pairs == 4
    kinds = {each.kind: each.tokens for each in found.report.layers[0].by_class.classes}
    assert sum(kinds.values()) == 5
    assert TokenClass.JOINED in kinds
    steps = [event for event in events if isinstance(event, Tracing)]
    assert [event.tokens for event in steps] == [0, 3, 5]
    assert (steps[0].fraction, steps[-1].fraction) == (0.0, 1.0)


def test_the_chat_s_own_context_is_small(run: Run) -> None:
    engine = Marking()
    run(engine, ("a" * 900,))
    assert engine.loads[-1].context == 256


def test_a_long_text_is_traced_in_pieces_that_are_counted_together(run: Run) -> None:
    engine = Marking()
    text = "line of words\n" * 60
    (found,) = traced(run(engine, (text,)))
    assert len(engine.traces) > 3
    assert all(len(request.tokens) <= 256 and request.tokens[0] == BOS for request in engine.traces)
    assert "".join(found.text.tokens) == text
    assert found.report.tokens == len(text)
    assert found.report.layers[0].repeats.pairs == len(text) - len(engine.traces)
    assert [each.count for each in found.text.layers] == [len(text)] * 2


def test_no_more_tokens_are_kept_than_are_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixchat.app.tracing, "SHOWN", 300)
    text = "line of words\n" * 60
    (found,) = traced(run(Marking(), (text,)))
    assert "".join(found.text.tokens) == text[:300]
    assert found.report.tokens == len(text)
    assert SHOWN == 4096


def test_groups_are_counted_apart_and_fractions_grow(run: Run) -> None:
    events = run(Marking(), ("one", "", "twelve "), ("other",))
    first, second = traced(events)
    assert (first.report.tokens, second.report.tokens) == (10, 5)
    assert (first.name, second.name) == ("group 0", "group 1")
    for name in ("group 0", "group 1"):
        fractions = [event.fraction for event in events if isinstance(event, Tracing) and event.name == name]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


@pytest.mark.parametrize("groups", [[("",)], [("text",), ("", "")], [()]])
def test_nothing_to_trace_is_said_before_a_model_is_loaded(groups: list[tuple[str, ...]], run: Run) -> None:
    engine = Marking()
    with pytest.raises(UsageError, match="no text to trace in group"):
        run(engine, *groups)
    assert not engine.loads


def test_what_cannot_be_read_is_left_out(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    def binary() -> str:
        raise UsageError("b.bin is binary, not text.", "Give it as text.")

    group = (passage("one"), Passage("b.bin", 5, binary), passage("two"))
    asked = Inquiry(str(model_file), (("all", group),))
    events = list(trace_texts(make_house(Marking()), settings(), asked))
    assert Notice("b.bin is binary, not text; it is left out.") in events
    assert "".join(traced(events)[0].text.tokens) == "onetwo"
    with pytest.raises(UsageError, match="no text to trace in all"):
        list(trace_texts(make_house(Marking()), settings(), Inquiry(str(model_file), (("all", group[1:2]),))))


def test_an_interrupt_leaves_what_was_traced(run: Run) -> None:
    engine = Marking()
    steps = []

    def step(name: str) -> None:
        steps.append(name)
        if steps.count("trace") == 3:
            engine.interrupt()

    engine.on_step = step
    (found,) = traced(run(engine, ("x" * 20,), ("never",)))
    assert not found.complete
    assert (found.report.tokens, len(found.text.tokens)) == (7, 7)
    assert len(engine.traces) == 1


def test_an_interrupt_between_pieces_is_heard(run: Run) -> None:
    engine = Marking()
    events = run(engine, ("word " * 200,), ("never",), stopped=lambda: len(engine.traces) == 1)
    (found,) = traced(events)
    assert not found.complete
    assert found.report.tokens == len(engine.traces[0].tokens) - 1


def test_an_interrupt_before_the_second_text_leaves_the_first(run: Run) -> None:
    engine = Marking()
    first, second = traced(run(engine, ("one",), ("two",), stopped=lambda: len(engine.traces) == 1))
    assert (first.complete, second.complete) == (True, False)
    assert (first.report.tokens, second.report.tokens) == (3, 0)


def test_a_dying_engine_is_an_error(run: Run) -> None:
    engine = Marking()
    engine.dies_at = "trace"
    with pytest.raises(EngineDied):
        run(engine, ("text",))


def test_a_model_without_routers_is_refused() -> None:
    check_routers("m", MODEL)
    with pytest.raises(UsageError, match="m is a dense model"):
        check_routers("m", replace(MODEL, n_experts=0))


def test_room_for_the_second_context_is_planned(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    asked = inquiry(model_file, ("text",))
    with pytest.raises(DoesNotFit, match="to trace its experts"):
        list(trace_texts(make_house(Marking()), settings(ram=1 << 20), asked))


def answered(house: House, settings: Settings, path: Path, **more: object) -> list[object]:
    question = Question(str(path), (Message("user", "Hello"),), trace=True, **more)  # type: ignore[arg-type]
    return list(ask(house, settings, question))


def test_an_answer_is_traced_from_the_question_on(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hi!")
    events = answered(make_house(engine), settings(), model_file)
    found = events[-1]
    assert isinstance(found, Traced)
    assert found.name == "the question and its answer"
    assert "".join(found.text.tokens) == "Hello<|im_end|>\n<|im_start|>assistant\nHi!"
    (request,) = engine.traces
    assert engine.prompt(0).endswith("assistant\n")
    assert request.tokens[: len(engine.generations[0].tokens)] == engine.generations[0].tokens
    assert [event.text for event in events if isinstance(event, Token)] == ["H", "i", "!"]


def test_an_interrupted_answer_is_not_traced(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine("Hi!")
    engine.on_step = lambda name: engine.interrupt() if name == "decode" else None
    assert not traced(answered(make_house(engine), settings(), model_file))
    assert not engine.traces


def test_a_device_without_room_is_named(make_house: MakeHouse, settings: MakeSettings) -> None:
    poor = FakeEngine(devices=(DeviceInfo("CPU", "A processor", "cpu", 1 << 30, 2 << 30),))
    with pytest.raises(DoesNotFit, match=r"Tracing 8000 tokens takes .* of RAM beside the loaded model") as refused:
        check_trace(make_house(poor), settings(ram=1 << 20), opened(), 8000)
    assert refused.value.short_by > 0
