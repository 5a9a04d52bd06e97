"""A chat whose model changes, and models that think before they answer."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mixchat.app.conversing import Conversation
from mixchat.app.events import Opened, Thinking
from mixchat.app.recording import Log
from mixchat.chat.journal import ModelChosen
from mixchat.chat.messages import Message, Turn
from mixchat.engine.events import Finished, Token
from mixchat.errors import BadModel, EngineDied, NotFound, UsageError
from tests.app.conftest import MakeHouse, MakeSettings
from tests.app.talks import (
    Memory,
    finished,
    held,
    sampled,
    until,
    write_mixtral,
    write_model,
)
from tests.builders import Tiny, tiny_moe
from tests.fakes.engine import MARKUP, SAMPLED, FakeEngine, chatml

Start = Callable[..., Conversation]


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("thinker") / "thinker.gguf", "a template with <think> and </think>")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("other") / "other.gguf", "another template")


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixtral(tmp_path_factory.mktemp("mixtral") / "mixtral.gguf")


@pytest.fixture
def start(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> Start:
    def make(engine: FakeEngine, log: Log | None = None, model: Path = model_file, **flags: object) -> Conversation:
        return Conversation(make_house(engine), settings(**flags), str(model), log or Memory())

    return make


def said(talk: Conversation, *texts: str) -> Finished:
    """Say these; the end of the last answer."""
    return [finished(list(talk.say(text))) for text in texts][-1]


def test_go_on_with_the_words_of_another_model(start: Start, other: Path) -> None:
    engine = FakeEngine("Hi", " there", "Yes")
    talk = start(engine)
    said(talk, "Hello")
    list(talk.use_model(str(other)))
    list(talk.go_on())
    assert not any(SAMPLED <= token < MARKUP for token in engine.generations[-1].tokens)
    assert talk.transcript.turns == (Turn("Hello", "Hi there"),)


def test_another_model_is_recorded_when_it_is_loaded(start: Start, other: Path) -> None:
    engine, log = FakeEngine(*"ab"), Memory()
    talk = start(engine, log)
    said(talk, "one")
    events = list(talk.use_model(str(other)))
    assert isinstance(events[-1], Opened)
    assert log.kept[-1] == ModelChosen(str(other))
    assert Path(engine.loads[-1].path) == other
    assert said(talk, "two").usage.cached_tokens == 0
    assert not any(SAMPLED <= token < MARKUP for token in engine.generations[-1].tokens)
    assert talk.transcript.turns[0].vocabulary != talk.transcript.turns[1].vocabulary


@pytest.mark.parametrize(("file", "error"), [("missing.gguf", NotFound), ("base.gguf", BadModel)])
def test_a_model_that_cannot_chat_leaves_the_loaded_one(
    file: str, error: type[Exception], start: Start, tmp_path: Path
) -> None:
    tiny_moe(tmp_path / "base.gguf", Tiny(layers=1))
    engine, log = FakeEngine(*"ab"), Memory()
    talk = start(engine, log)
    first = said(talk, "one")
    records = [*log.kept]
    with pytest.raises(error):
        list(talk.use_model(str(tmp_path / file)))
    assert log.kept == records
    assert said(talk, "two").usage.cached_tokens == held(first.usage)
    assert len(engine.loads) == 1


@pytest.mark.parametrize("step", ["devices", "load"])
def test_an_interrupted_change_of_model_goes_back_with_the_next_message(
    step: str, start: Start, other: Path, model_file: Path
) -> None:
    engine, log = FakeEngine(*"ab"), Memory()
    talk = start(engine, log)
    said(talk, "one")
    engine.on_step = lambda name: talk.interrupt() if name == step else None
    assert not any(isinstance(event, Opened) for event in talk.use_model(str(other)))
    engine.on_step = lambda _name: None
    assert ModelChosen(str(other)) not in log.kept
    said(talk, "two")
    assert Path(engine.loads[-1].path) == model_file


def test_a_model_that_kills_the_engine_is_not_chosen(start: Start, other: Path, model_file: Path) -> None:
    engine, log = FakeEngine(*"ab"), Memory()
    talk = start(engine, log)
    said(talk, "one")
    engine.dies_at = "load"
    with pytest.raises(EngineDied):
        list(talk.use_model(str(other)))
    assert ModelChosen(str(other)) not in log.kept
    said(talk, "two")
    assert Path(engine.loads[-1].path) == model_file


def test_thinking_is_told_kept_apart_and_never_said_again(start: Start, thinker: Path) -> None:
    engine, log = FakeEngine("<think>\nHm, a hello.\n</think>\n\nHi", "Fine"), Memory()
    talk = start(engine, log, model=thinker)
    events = list(talk.say("Hello"))
    assert "".join(event.text for event in events if isinstance(event, Thinking)) == "Hm, a hello."
    assert "".join(event.text for event in events if isinstance(event, Token)) == "Hi"
    assert talk.transcript.turns == (Turn("Hello", "Hi", thinking="Hm, a hello."),)
    assert talk.context.to_evaluate() == len("Hi"), "what it thought stands where the answer will"
    following = said(talk, "How are you?")
    assert following.usage.cached_tokens == finished(events).usage.prompt_tokens
    assert "Hm" not in engine.prompt()
    assert talk.transcript.turns[-1].tokens == sampled("Fine"), "an answer without thinking is all the answer's"


def test_a_listener_that_leaves_while_the_model_thinks(start: Start, thinker: Path) -> None:
    talk = start(FakeEngine("<think>Hmmm"), model=thinker)
    events = talk.say("Hello")
    for event in events:
        if isinstance(event, Thinking):
            break
    events.close()
    (turn,) = talk.transcript.turns
    assert (turn.assistant, turn.interrupted, turn.thinking) == ("", True, "H")


def test_an_answer_goes_on_behind_its_thinking(start: Start, thinker: Path) -> None:
    def opened(messages: Sequence[Message]) -> str:
        return chatml(messages) + "<think>\n"

    engine = FakeEngine("Hm.</think>\n\nHi", " there", template=opened)
    talk = start(engine, model=thinker)
    said(talk, "Hello")
    assert talk.transcript.turns == (Turn("Hello", "Hi", thinking="Hm."),)
    list(talk.go_on())
    assert engine.prompt().endswith("assistant\n<think>\n\n</think>\n\nHi")
    assert talk.transcript.turns == (Turn("Hello", "Hi there", thinking="Hm."),)


def test_thinking_of_nothing_is_no_part_of_the_answer_s_tokens(start: Start, thinker: Path) -> None:
    engine = FakeEngine("<think>\n\n</think>\n\nHi", "Fine")
    talk = start(engine, model=thinker)
    events = list(talk.say("Hello"))
    assert not any(isinstance(event, Thinking) for event in events)
    assert talk.transcript.turns == (Turn("Hello", "Hi"),)
    assert talk.context.to_evaluate() == len("Hi")
    said(talk, "How are you?")
    assert "think" not in engine.prompt()


def test_a_harmony_answer_goes_on_in_its_channel(start: Start, tmp_path: Path) -> None:
    model = write_model(tmp_path / "oss.gguf", "a template with <|channel|> and <|message|>")
    reply = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi"
    engine = FakeEngine(reply, " there")
    talk = start(engine, model=model)
    said(talk, "Hello")
    list(talk.go_on())
    assert engine.prompt().endswith("assistant\n<|channel|>final<|message|>Hi")
    assert talk.transcript.turns == (Turn("Hello", "Hi there", thinking="Hm."),)


def test_mixtral_s_answer_goes_on_without_losing_a_space(start: Start, mixtral: Path) -> None:
    engine = FakeEngine(" Hello", " there", " Fine")
    talk = start(engine, model=mixtral)
    until(talk.say("Hey"), "e", talk)
    assert talk.transcript.turns[0].assistant == "He"
    list(talk.go_on())
    assert talk.transcript.turns[0].assistant == "He there"
    assert talk.transcript.turns[0].tokens == sampled(" He there")
    end = said(talk, "And you?")
    assert engine.prompt() == "<s>[INST] Hey [/INST] He there</s>[INST] And you? [/INST]"
    assert talk.context.to_evaluate() == 0
    assert end.usage.cached_tokens == len("s[INST] Hey [/INST] He there")


def test_an_answer_that_was_interrupted_while_it_thought(start: Start, thinker: Path) -> None:
    engine = FakeEngine("<think>Hmmm", "Hi", "Ho")
    talk = start(engine, model=thinker)
    for event in talk.say("Hello"):
        if event == Thinking("m"):
            talk.interrupt()
    assert talk.transcript.turns == (Turn("Hello", "", interrupted=True, thinking="Hm"),)
    with pytest.raises(UsageError):
        list(talk.go_on())
    list(talk.regenerate())
    assert talk.transcript.turns == (
        Turn("Hello", "Hi", False, "", sampled("Hi"), talk.transcript.turns[0].vocabulary),
    )
