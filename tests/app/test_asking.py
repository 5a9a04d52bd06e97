from collections.abc import Iterator
from pathlib import Path

import pytest

import mixchat.app.source
from mixchat.app.answering import check_room, sampling_of
from mixchat.app.asking import Question, ask, rehearse
from mixchat.app.events import Making, Notice, Opened
from mixchat.chat.messages import Message, Text
from mixchat.engine.events import Finished, GenerateRequest, Loading, LoadRequest, Prefilling, Sampling, Token, Usage
from mixchat.errors import BadModel, EngineDied, NotFound, PromptTooLong, UsageError
from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import array, f32, text, texts
from mixchat.models.library import Record, write_record
from mixchat.models.registry import Entry
from mixchat.store.places import Places
from tests.app.conftest import MakeHouse, MakeSettings
from tests.builders import Tiny, mixtral_header, sparse_file, tiny_moe
from tests.fakes.engine import SAMPLED, FakeEngine

HELLO = (Message("user", "Hello"),)
LONG = (Message("user", "word " * 200),)
PROMPT = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def question(path: Path, messages: tuple[Message, ...] = HELLO, *stop: str, force: bool = False) -> Question:
    return Question(str(path), messages, stop, force)


def test_an_answer_is_loading_opening_and_its_tokens(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hi")
    events = list(ask(make_house(engine), settings(), question(model_file)))
    assert isinstance(events[3], Opened)
    assert [event for event in events if not isinstance(event, Opened)] == [
        *(Loading(fraction) for fraction in (0.0, 0.5, 1.0)),
        Prefilling(0, 7, 0),
        Token("H", SAMPLED + ord("H")),
        Token("i", SAMPLED + ord("i")),
        events[-1],
    ]
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].usage) == ("stop", Usage(7, 0, 2))


def test_settings_and_stops_reach_the_engine(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine("Hello there")
    flags = {"temperature": 0.0, "top_k": 3, "seed": 5, "max_tokens": 4, "min_p": 0.5, "repeat_penalty": 1.5}
    events = list(ask(make_house(engine), settings(**flags), question(model_file, HELLO, "END", "stop")))
    sampling = Sampling(temperature=0.0, top_p=0.95, top_k=3, min_p=0.5, repeat_penalty=1.5, seed=5)
    (request,) = engine.generations
    assert request == GenerateRequest(request.tokens, sampling, 4, ("END", "stop"))
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"


def test_a_known_model_s_own_sampling_is_the_default(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path, places: Places
) -> None:
    engine = FakeEngine("Hi", "Hi")
    house = make_house(engine)
    entry = Entry("small", "Small", "none", 512, "template", {"temperature": 0.3, "top_p": 0.5})
    house = type(house)(places, type(house.registry)({"small": entry}), engine, house.prove)
    folder = places.models / "small"
    folder.mkdir(parents=True)
    (folder / "small.gguf").symlink_to(model_file)
    write_record(places, Record("small", "small.gguf", 1, "0" * 64, "a test", "now"))
    list(ask(house, settings(top_p=0.9), Question("small", HELLO)))
    assert (engine.generations[0].sampling.temperature, engine.generations[0].sampling.top_p) == (0.3, 0.9)


def test_a_prompt_that_is_too_long_is_found_before_weights_are_loaded(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hi")
    with pytest.raises(PromptTooLong) as refused:
        list(ask(make_house(engine), settings(), question(model_file, LONG)))
    assert engine.loads == [LoadRequest(str(model_file), vocab_only=True, read_ahead=False)]
    assert engine.generations == []
    assert (refused.value.tokens, refused.value.room) == (1002, 511)
    assert "Shorten" in refused.value.hint


def test_an_endless_prompt_is_estimated_from_a_part(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hi")
    with pytest.raises(PromptTooLong, match="about 1000000 tokens") as refused:
        list(ask(make_house(engine), settings(), question(model_file, (Message("user", "x" * 1_000_000),))))
    assert max(len(piece.text) for pieces in engine.tokenized for piece in pieces if isinstance(piece, Text)) < 20_000
    assert refused.value.tokens == 1_000_000


def test_a_long_text_of_few_tokens_is_answered(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine("Hi")
    text = "é" * 300
    events = list(ask(make_house(engine), settings(), question(model_file, (Message("user", text),))))
    assert isinstance(events[-1], Finished)
    assert [request.vocab_only for request in engine.loads] == [True, False]


@pytest.mark.parametrize(
    ("tokens", "context", "limit", "hint"),
    [
        (512, 512, 8192, "--ctx 1024"),
        (1000, 512, 8192, "--ctx 2048"),
        (7680, 512, 8192, "--ctx 8192"),
        (7681, 512, 8192, "Shorten"),
    ],
)
def test_the_hint_of_a_long_prompt_is_a_context_that_holds_it(tokens: int, context: int, limit: int, hint: str) -> None:
    with pytest.raises(PromptTooLong) as refused:
        check_room(tokens, context, limit)
    assert hint in refused.value.hint
    assert refused.value.room == context - 1
    check_room(context - 1, context, limit)


def test_an_interrupted_load_gives_no_answer(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine("Hi")
    seen: list[object] = []
    for event in ask(make_house(engine), settings(), question(model_file)):
        seen.append(event)
        engine.interrupt()
    assert seen == [Loading(0.0)]
    assert engine.generations == []


def test_an_interrupted_answer_ends_with_what_it_has(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hello")
    seen: list[object] = []
    for event in ask(make_house(engine), settings(), question(model_file)):
        seen.append(event)
        if isinstance(event, Token):
            engine.interrupt()
    assert isinstance(seen[-1], Finished)
    assert (seen[-2], seen[-1].reason) == (Token("H", SAMPLED + ord("H")), "interrupted")


@pytest.mark.parametrize("step", ["devices", "load", "render", "tokenize", "prefill", "decode"])
def test_a_dead_engine_ends_the_question(
    step: str, make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    with pytest.raises(EngineDied, match=f"SIGSEGV at {step}"):
        list(ask(make_house(FakeEngine("Hi", dies_at=step)), settings(), question(model_file)))


def test_mixtral_s_first_space_is_not_part_of_the_answer(
    make_house: MakeHouse, settings: MakeSettings, tmp_path: Path
) -> None:
    words = [f"word{index}" for index in range(32000)]
    extra = {
        "tokenizer.ggml.model": text("llama"),
        "tokenizer.ggml.tokens": texts(words),
        "tokenizer.ggml.scores": array(ValueType.FLOAT32, [0.0] * 32000),
        "tokenizer.chat_template": text("[INST] {{ x }} [/INST]"),
        "llama.rope.scale": f32(1),
    }
    path = tiny_moe(tmp_path / "mixtral.gguf", Tiny(layers=1, words=32000), extra=extra)
    engine = FakeEngine("  Hi")
    events = list(ask(make_house(engine), settings(), question(path, (Message("user", "say [INST]"),))))
    assert "".join(event.text for event in events if isinstance(event, Token)) == " Hi"
    assert ["[INST]" in event.text for event in events if isinstance(event, Notice)] == [True]


def test_the_legacy_layout_is_refused_before_anything_is_loaded(
    make_house: MakeHouse, settings: MakeSettings, tmp_path: Path
) -> None:
    engine = FakeEngine("Hi")
    path = sparse_file(tmp_path / "old.gguf", mixtral_header("thebloke-legacy/Q4_K_M"))
    with pytest.raises(BadModel, match="legacy"):
        list(ask(make_house(engine), settings(), question(path)))
    with pytest.raises(BadModel, match="legacy"):
        rehearse(make_house(engine), settings(), question(path))
    assert engine.loads == []


def test_a_rehearsal_shows_the_prompt_and_loads_no_weights(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine()
    rehearsal = rehearse(make_house(engine), settings(ctx=300), question(model_file))
    assert (rehearsal.source.name, rehearsal.context) == ("small", 512)
    assert "".join(segment.text for segment in rehearsal.prompt.segments) == PROMPT
    assert [request.vocab_only for request in engine.loads] == [True]


def test_a_rehearsal_does_not_mind_the_length(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    rehearsal = rehearse(make_house(FakeEngine()), settings(), question(model_file, LONG))
    assert len(rehearsal.prompt.tokens) == 1002


def test_a_conversation_without_a_question_is_refused(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    with pytest.raises(UsageError):
        rehearse(make_house(FakeEngine()), settings(), question(model_file, (Message("system", "x"),)))


def test_the_demo_is_made_when_it_is_asked_for(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(at: Places, entry: Entry) -> Iterator[float]:
        yield 0.0
        (at.models / entry.alias).mkdir(parents=True)
        (at.models / entry.alias / "a.gguf").symlink_to(model_file)
        write_record(at, Record(entry.alias, "a.gguf", 1, "0" * 64, "a test", "now"))
        yield 1.0

    monkeypatch.setattr(mixchat.app.source, "make_demo", make)
    house = make_house(FakeEngine("Hi", "Hi"))
    events = list(ask(house, settings(), Question("demo", HELLO)))
    assert events[:3] == [Making(0.0), Making(1.0), Loading(0.0)]
    assert isinstance(events[-1], Finished)
    assert not any(isinstance(event, Making) for event in ask(house, settings(), Question("demo", HELLO)))
    assert rehearse(house, settings(), Question("demo", HELLO)).source.name == "demo"


def test_a_model_that_is_not_here_is_told(make_house: MakeHouse, settings: MakeSettings) -> None:
    with pytest.raises(NotFound, match="not on this machine"):
        list(ask(make_house(FakeEngine()), settings(), Question("mixtral", HELLO)))


def test_sampling_follows_the_settings(settings: MakeSettings) -> None:
    assert sampling_of(settings()) == Sampling(0.7, 0.95, 40, 0.05, 1.0, None)
