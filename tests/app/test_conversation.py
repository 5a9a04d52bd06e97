from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import mixchat.app.source
from mixchat.app.conversing import Conversation
from mixchat.app.events import Making, Notice, Opened
from mixchat.chat.messages import Control, Message, Piece, Text, Turn
from mixchat.engine.events import Finished, GenerateEvent, GenerateRequest, Loading, Token
from mixchat.errors import EngineDied, PromptTooLong
from mixchat.models.library import Record, write_record
from mixchat.models.registry import Entry
from mixchat.store.places import Places
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import MARKUP, SAMPLED, FakeEngine, chatml

Start = Callable[..., Conversation]


@pytest.fixture
def start(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> Start:
    def make(engine: FakeEngine, **flags: object) -> Conversation:
        return Conversation(make_house(engine), settings(**flags), str(model_file))

    return make


def finished(events: Sequence[object]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def turns(talk: Conversation) -> tuple[Turn, ...]:
    """What was said, whatever its tokens."""
    return tuple(replace(turn, tokens=(), vocabulary="") for turn in talk.transcript.turns)


def answers(talk: Conversation) -> list[str]:
    return [turn.assistant for turn in talk.transcript.turns]


def test_open_then_say(start: Start) -> None:
    engine = FakeEngine("Hi", "Fine")
    talk = start(engine, system="Be brief.")
    assert isinstance(list(talk.open())[-1], Opened)
    assert [event.text for event in talk.say("Hello") if isinstance(event, Token)] == ["H", "i"]
    list(talk.say("How are you?"))
    assert talk.transcript.system == "Be brief."
    assert turns(talk) == (Turn("Hello", "Hi"), Turn("How are you?", "Fine"))
    assert len(engine.loads) == 1
    assert engine.prompt().startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>")


def test_the_first_message_loads_the_model(start: Start) -> None:
    engine = FakeEngine("Hi")
    events = list(start(engine).say("Hello"))
    assert [type(event) for event in events[:4]] == [Loading, Loading, Loading, Opened]
    assert finished(events).reason == "stop"


def test_what_was_evaluated_is_evaluated_once(start: Start) -> None:
    engine = FakeEngine("Hi", "Fine", "Bye")
    talk = start(engine)
    list(talk.open())
    uses = [finished(list(talk.say(text))).usage for text in ("Hello", "How are you?", "See you")]
    for before, now in pairwise(uses):
        assert now.cached_tokens == before.prompt_tokens + before.completion_tokens
    assert (SAMPLED + ord("H"), SAMPLED + ord("i")) == engine.generations[1].tokens[7:9]


@pytest.mark.parametrize("step", ["render", "tokenize", "prefill", "decode"])
def test_a_dead_engine_keeps_the_transcript_and_starts_again(step: str, start: Start) -> None:
    engine = FakeEngine("Hi", "Fine", "Fine")
    talk = start(engine)
    list(talk.say("Hello"))
    engine.dies_at = step
    with pytest.raises(EngineDied):
        list(talk.say("How are you?"))
    assert turns(talk) == (Turn("Hello", "Hi"),)
    events = list(talk.say("How are you?"))
    assert isinstance(events[3], Opened)
    assert turns(talk) == (Turn("Hello", "Hi"), Turn("How are you?", "Fine"))
    assert len(engine.loads) == 2


def test_an_engine_that_died_between_two_turns_is_started_again_with_a_notice(start: Start) -> None:
    engine = FakeEngine("Hi", "Fine")
    talk = start(engine)
    list(talk.say("Hello"))
    engine.close()
    events = list(talk.say("How are you?"))
    assert isinstance(events[0], Notice)
    assert "started again" in events[0].text
    assert any(isinstance(event, Opened) for event in events)
    assert turns(talk) == (Turn("Hello", "Hi"), Turn("How are you?", "Fine"))


@pytest.mark.parametrize("step", ["devices", "load"])
def test_an_engine_that_dies_while_it_loads_can_be_tried_again(step: str, start: Start) -> None:
    engine = FakeEngine("Hi", dies_at=step)
    talk = start(engine)
    with pytest.raises(EngineDied):
        list(talk.open())
    list(talk.say("Hello"))
    assert answers(talk) == ["Hi"]


def test_an_interrupted_answer_is_kept_and_marked(start: Start) -> None:
    engine = FakeEngine("Hello", "Fine")
    talk = start(engine)
    list(talk.open())
    seen: list[object] = []
    for event in talk.say("Hey"):
        seen.append(event)
        if event == Token("e", SAMPLED + ord("e")):
            talk.interrupt()
    assert finished(seen).reason == "interrupted"
    assert turns(talk) == (Turn("Hey", "He", interrupted=True),)
    list(talk.say("Go on"))
    assert "assistant\nHe<|im_end|>" in engine.prompt()


def test_a_listener_that_leaves_keeps_what_was_said(start: Start) -> None:
    talk = start(FakeEngine("Hello"))
    list(talk.open())
    events = talk.say("Hey")
    for event in events:
        if isinstance(event, Token):
            break
    events.close()
    assert turns(talk) == (Turn("Hey", "H", interrupted=True),)


@pytest.mark.parametrize("step", ["devices", "load", "render", "tokenize", "prefill"])
def test_an_interrupt_before_the_answer_keeps_the_person_s_words(step: str, start: Start) -> None:
    engine = FakeEngine("Hello", "Hi")
    talk = start(engine)
    loading = step in {"devices", "load"}
    if not loading:
        list(talk.open())
    engine.on_step = lambda name: talk.interrupt() if name == step else None
    events = list(talk.say("Hey"))
    assert not any(isinstance(event, Token) for event in events)
    assert turns(talk) == (() if loading else (Turn("Hey", "", interrupted=True),))
    engine.on_step = lambda _name: None
    list(talk.say("Again"))
    assert turns(talk)[-1] == Turn("Again", "Hello" if loading else "Hi")
    assert "Hey" not in engine.prompt()


def test_an_interrupt_while_the_build_proves_itself_stops_opening(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hi")
    house = make_house(engine)

    def prove() -> object:
        talk.interrupt()
        return house.prove()

    talk = Conversation(
        type(house)(house.places, house.registry, engine, prove),  # type: ignore[arg-type]
        settings(),
        str(model_file),
    )
    assert not any(isinstance(event, Opened) for event in talk.open())


def test_an_interrupt_when_nothing_runs_is_forgotten(start: Start) -> None:
    talk = start(FakeEngine("Hi"))
    list(talk.open())
    talk.interrupt()
    list(talk.say("Hello"))
    assert answers(talk) == ["Hi"]


def test_a_killed_engine_is_loaded_again(start: Start) -> None:
    engine = FakeEngine("Hi", "Fine")
    talk = start(engine)
    list(talk.say("Hello"))
    talk.kill()
    assert engine.closed == 1
    list(talk.say("How are you?"))
    assert answers(talk) == ["Hi", "Fine"]
    assert len(engine.loads) == 2


def test_an_answer_cut_by_its_limit_is_whole(start: Start) -> None:
    talk = start(FakeEngine("Hello"), max_tokens=2)
    assert finished(list(talk.say("Hey"))).reason == "length"
    assert turns(talk) == (Turn("Hey", "He"),)


def test_the_oldest_turns_are_left_out_when_the_context_is_full(start: Start) -> None:
    engine = FakeEngine(*("a" * 80 for _ in range(7)))
    talk = start(engine, system="Be brief.", overflow="drop")
    list(talk.open())
    room, told, sizes = 512 - 512 // 4, [], []
    for index in range(7):
        events = list(talk.say(f"question {index} " + "b" * 40))
        told.append([event.text for event in events if isinstance(event, Notice)])
        sizes.append(finished(events).usage.prompt_tokens)
        assert sizes[-1] <= (room * 3 // 4 if told[-1] else room)
    assert [bool(texts) for texts in told] == [False, False, False, True, False, True, False]
    assert told[3] == ["The oldest 2 turns are left out of the prompt from here on, 266 tokens."]
    assert talk.transcript.left_out == 4
    assert "Be brief." in engine.prompt()
    assert "question 3" not in engine.prompt()
    assert "question 4" in engine.prompt()
    assert len(talk.transcript.turns) == 7


def test_a_text_longer_than_the_context_is_refused_and_the_chat_goes_on(start: Start) -> None:
    talk = start(FakeEngine("Hi", "Fine"))
    for turns in (0, 1):
        with pytest.raises(PromptTooLong):
            list(talk.say("x" * 600))
        assert len(talk.transcript.turns) == turns
        list(talk.say("Hello"))
    assert answers(talk) == ["Hi", "Fine"]


def test_a_long_text_takes_the_room_that_an_answer_would_have_had(start: Start) -> None:
    engine = FakeEngine("Hi", "Fine")
    talk = start(engine)
    list(talk.say("Hello"))
    events = list(talk.say("x" * 450))
    assert not any(isinstance(event, Notice) for event in events)
    assert finished(events).reason == "stop"
    assert "Hello" in engine.prompt()


def test_a_text_that_fills_the_context_goes_without_the_turns_before(start: Start) -> None:
    engine = FakeEngine("Hi", "Fine")
    talk = start(engine, overflow="drop")
    list(talk.say("Hello"))
    events = list(talk.say("x" * 505))
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "The oldest turn is left out of the prompt from here on, 9 tokens."
    ]
    assert "Hello" not in engine.prompt()


def test_a_prompt_in_one_piece_leaves_out_turns_too(start: Start) -> None:
    def in_capitals(messages: Sequence[Message]) -> str:
        return chatml([replace(message, text=message.text.upper()) for message in messages])

    class CharByChar(FakeEngine):
        def _ids(self, piece: Piece) -> tuple[int, ...]:
            return super()._ids(Text(piece.name) if isinstance(piece, Control) else piece)

    engine = CharByChar(*("a" * 80 for _ in range(4)), template=in_capitals)
    talk = start(engine, overflow="drop")
    notices = [sum(isinstance(event, Notice) for event in talk.say("hello")) for _ in range(4)]
    assert notices == [0, 0, 0, 1]
    assert len(engine.generations[-1].tokens) <= (512 - 512 // 4) * 3 // 4


def test_the_making_of_the_demo_can_be_interrupted(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def make(at: Places, entry: Entry) -> Iterator[float]:
        try:
            yield 0.0
            yield 0.5
            (at.models / entry.alias).mkdir(parents=True, exist_ok=True)
            (at.models / entry.alias / "a.gguf").symlink_to(model_file)
            write_record(at, Record(entry.alias, "a.gguf", 1, "0" * 64, "a test", "now"))
            yield 1.0
        finally:
            steps.append("left")

    monkeypatch.setattr(mixchat.app.source, "make_demo", make)
    engine = FakeEngine("Hi")
    talk = Conversation(make_house(engine), settings(), "demo")
    seen: list[object] = []
    for event in talk.open():
        seen.append(event)
        talk.interrupt()
    assert seen == [Making(0.0)]
    assert steps == ["left"]
    assert engine.loads == []
    events = list(talk.say("Hello"))
    assert events[:3] == [Making(0.0), Making(0.5), Making(1.0)]
    assert answers(talk) == ["Hi"]


def test_an_answer_with_text_that_was_held_back_is_tokenized_anew(start: Start) -> None:
    class HoldsBack(FakeEngine):
        def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
            for event in super().generate(request):
                if isinstance(event, Finished):
                    yield Token("!", -1)
                yield event

    engine = HoldsBack("Hi", "Fine")
    talk = start(engine)
    list(talk.say("Hello"))
    list(talk.say("How are you?"))
    assert answers(talk) == ["Hi!", "Fine!"]
    assert not any(SAMPLED <= token < MARKUP for token in engine.generations[1].tokens)
