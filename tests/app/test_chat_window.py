"""What happens when a chat's context is full: a choice, and never silent."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.conversing import Conversation
from mixchat.app.events import Full, Opened
from mixchat.app.recording import Log
from mixchat.app.window import SUMMARISE, SUMMARY_TOKENS, enlarged
from mixchat.chat.journal import ValueSet, Windowed
from mixchat.chat.messages import Control, Message, Piece, Text, Turn
from mixchat.engine.events import Finished, Loading, Prefilling, Token
from mixchat.errors import EngineDied, PromptTooLong
from mixchat.plan.units import format_bytes
from mixchat.store.places import Places
from mixchat.store.sessions import create, open_session
from mixchat.store.snapshots import snapshot_path
from tests.app.conftest import MakeHouse, MakeSettings
from tests.app.talks import (
    Memory,
    answers,
    finished,
    held,
    noon,
    notices,
    turns,
    until,
    usage,
    write_mixtral,
    write_model,
)
from tests.fakes.engine import FakeEngine, chatml
from tests.fakes.plans import RAM, VRAM, opened, plan_of

Start = Callable[..., Conversation]

ANSWER = "a" * 80
TURN = 40 + 80 + 2
"""Tokens of a question, its answer and what the template writes around them."""
LAST = 40 + 2
"""Tokens of the prompt that come behind the turns before."""
KV_BYTES = 2 * 2 * 64 * 2
"""Of one token in f16: keys and values of 2 heads of 64 in one layer."""
TOLD = "left out of the prompt from here on"


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("roomy") / "roomy.gguf")


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixtral(tmp_path_factory.mktemp("mixtral") / "mixtral.gguf", context=2048)


@pytest.fixture
def start(make_house: MakeHouse, settings: MakeSettings, roomy: Path) -> Start:
    def make(engine: FakeEngine, log: Log | None = None, model: Path = roomy, **flags: object) -> Conversation:
        return Conversation(make_house(engine), settings(**{"ctx": 512, **flags}), str(model), log or Memory())

    return make


def question(index: int) -> str:
    """A text of 40 characters."""
    return f"question {index} ".ljust(40, "q")


def ask(talk: Conversation, *indices: int) -> list[object]:
    """Ask these questions; the events of the last."""
    events: list[object] = []
    for index in indices:
        events = list(talk.say(question(index)))
    return events


def test_asking_ends_with_the_numbers_and_changes_nothing(start: Start) -> None:
    engine, log = FakeEngine(*[ANSWER] * 4), Memory()
    talk = start(engine, log)
    ask(talk, 0, 1, 2)
    before, records = talk.dialogue, [*log.kept]
    (full,) = ask(talk, 3)
    assert isinstance(full, Full)
    assert (full.tokens, full.context, full.turns, full.freed) == (3 * TURN + LAST, 512, 1, TURN)
    assert full.enlarged is not None
    assert full.enlarged.context == 2048, "twice the context would hold the prompt and no long answer"
    assert full.enlarged.effect == f"{format_bytes((2048 - 512) * KV_BYTES)} more KV cache", "nothing else moves"
    assert talk.dialogue is before
    assert log.kept == records
    assert len(engine.generations) == 3
    talk.past.undo()
    assert usage(ask(talk, 3)).cached_tokens == 2 * TURN + 1 + len("question "), "all that is the same"


def test_asking_a_model_that_has_no_larger_context(start: Start, model_file: Path) -> None:
    talk = start(FakeEngine(*[ANSWER] * 4), model=model_file)
    full = ask(talk, 0, 1, 2, 3)[-1]
    assert isinstance(full, Full)
    assert full.enlarged is None


def test_the_freed_tokens_are_those_that_the_prompt_loses(start: Start) -> None:
    engine = FakeEngine(*[ANSWER] * 4)
    talk = start(engine, system="Be brief.")
    full = ask(talk, 0, 1, 2, 3)[-1]
    assert isinstance(full, Full)
    use = usage(talk.say(question(3), overflow="drop"))
    assert use.prompt_tokens == full.tokens - full.freed


def test_dropping_is_recorded_told_and_keeps_the_system_text(start: Start) -> None:
    engine, log = FakeEngine(*[ANSWER] * 5), Memory()
    talk = start(engine, log, system="Be brief.")
    ask(talk, 0, 1, 2)
    events = list(talk.say(question(3), overflow="drop"))
    # The system text and three questions take more than the room, and three quarters of it hold only one turn more.
    assert notices(events) == [f"The oldest 2 turns are {TOLD}, {2 * TURN} tokens."]
    assert [each for each in log.kept if isinstance(each, Windowed)] == [Windowed(2)]
    assert "system\nBe brief." in engine.prompt()
    assert "question 1" not in engine.prompt()
    assert "question 2" in engine.prompt()
    assert len(talk.transcript.turns) == 4
    following = usage(ask(talk, 4))
    assert following.cached_tokens == held(finished(events).usage), "the window stays where it is"


def test_a_setting_answers_the_question(start: Start) -> None:
    talk = start(FakeEngine(*[ANSWER] * 4))
    ask(talk, 0, 1, 2)
    talk.set_value("overflow", "drop")
    assert TOLD in notices(ask(talk, 3))[0]
    assert talk.transcript.left_out == 1


def test_dropping_keeps_the_summary_of_before(start: Start) -> None:
    engine = FakeEngine(ANSWER, ANSWER, ANSWER, "they greeted", *[ANSWER] * 3)
    talk = start(engine, overflow="drop")
    ask(talk, 0, 1, 2)
    list(talk.say(question(3), overflow="summarise"))
    ask(talk, 4)
    while talk.transcript.left_out < 2:
        ask(talk, 5)
    assert talk.transcript.summary == "they greeted"
    assert "Summary of the conversation before this:\nthey greeted" in engine.prompt()


def test_a_summary_stands_for_the_turns_and_uses_what_is_evaluated(start: Start) -> None:
    engine, log = FakeEngine(*["a" * 400] * 3, "they greeted", ANSWER, "fine"), Memory()
    talk = start(engine, log, system="Be brief.", ctx=2048)
    uses = [usage(talk.say(question(index) + "b" * 20)) for index in range(3)]
    events = list(talk.say("b" * 160, overflow="summarise"))
    first = next(event for event in events if isinstance(event, Prefilling))
    assert first.cached == held(uses[-1]), "the request for the summary follows what is evaluated"
    assert first.total == first.cached + len(SUMMARISE) + 2
    request = engine.generations[-2]
    assert (request.max_tokens, request.sampling.temperature) == (SUMMARY_TOKENS, 0)
    assert notices(events)[0].startswith("The context is full: the oldest turn is being summarised")
    assert notices(events)[1].endswith("; a summary stands for them (/show system).")
    end = finished(events)
    assert end.usage.completion_tokens == 80, "the end of the answer, and of nothing else"
    assert talk.totals[-1] == end
    assert len(talk.totals) == 4
    assert "".join(event.text for event in events if isinstance(event, Token)) == ANSWER
    assert [each for each in log.kept if isinstance(each, Windowed)] == [Windowed(1, "they greeted")]
    beginning = "system\nBe brief.\n\nSummary of the conversation before this:\nthey greeted<|im_end|>"
    assert beginning in engine.prompt()
    assert "question 0" not in engine.prompt()
    following = usage(talk.say("b" * 60))
    assert following.cached_tokens == held(end.usage)


def test_a_summary_without_room_for_all_turns_is_of_those_that_go(start: Start) -> None:
    engine = FakeEngine(*[ANSWER] * 3, "they greeted", ANSWER)
    talk = start(engine)
    ask(talk, 0, 1, 2)
    events = list(talk.say(question(3), overflow="summarise"))
    assert "question 0" in engine.prompt(-2)
    assert "question 1" not in engine.prompt(-2)
    assert next(event for event in events if isinstance(event, Prefilling)).cached == TURN + 1
    assert talk.transcript.summary == "they greeted"


def test_turns_too_long_to_be_summarised_change_nothing(start: Start) -> None:
    talk = start(FakeEngine("a" * 420, "fine"))
    list(talk.say("Hello"))
    before = talk.dialogue
    with pytest.raises(PromptTooLong) as caught:
        list(talk.say("And?", overflow="summarise"))
    assert "/set overflow drop" in caught.value.hint
    assert talk.dialogue is before
    list(talk.say("And?", overflow="drop"))
    assert answers(talk)[-1] == "fine"


def test_a_summary_of_an_edited_chat_knows_nothing_of_the_turns_given_up(start: Start) -> None:
    engine = FakeEngine(*["a" * 300] * 4, "they greeted", "fine")
    talk = start(engine, ctx=1792)
    ask(talk, 0, 1, 2, 3)
    list(talk.say("b" * 500, after=3, overflow="summarise"))
    assert "question 2" in engine.prompt(-2)
    assert "question 3" not in engine.prompt(-2)


@pytest.mark.parametrize("step", ["prefill", "decode"])
def test_an_interrupted_summary_changes_nothing(step: str, start: Start) -> None:
    engine, log = FakeEngine(*[ANSWER] * 3, "they greeted", ANSWER), Memory()
    talk = start(engine, log)
    ask(talk, 0, 1, 2)
    before, records = talk.dialogue, [*log.kept]
    engine.on_step = lambda name: talk.interrupt() if name == step else None
    events = list(talk.say(question(3), overflow="summarise"))
    assert notices(events)[-1] == "The summary was stopped; nothing has changed."
    assert not any(isinstance(event, Token | Finished) for event in events)
    assert talk.dialogue is before
    assert log.kept == records
    engine.on_step = lambda _name: None
    assert answers(talk) == [ANSWER] * 3
    list(talk.say(question(3), overflow="drop"))
    assert len(answers(talk)) == 4


def test_an_engine_that_dies_over_a_summary_changes_nothing(start: Start) -> None:
    engine = FakeEngine(*[ANSWER] * 3, "they greeted", ANSWER)
    talk = start(engine)
    ask(talk, 0, 1, 2)
    before, engine.dies_at = talk.dialogue, "decode"
    with pytest.raises(EngineDied):
        list(talk.say(question(3), overflow="summarise"))
    assert talk.dialogue is before


def test_an_empty_summary_changes_nothing(start: Start) -> None:
    talk = start(FakeEngine(*[ANSWER] * 3, " \n"))
    ask(talk, 0, 1, 2)
    before = talk.dialogue
    events = list(talk.say(question(3), overflow="summarise"))
    assert notices(events)[-1].startswith("The model wrote no summary; nothing has changed.")
    assert talk.dialogue is before


def test_enlarging_loads_again_and_goes_on_from_what_is_evaluated(start: Start, places: Places) -> None:
    engine = FakeEngine(*[ANSWER] * 5)
    talk = start(engine, log := create(places, noon()))
    uses = [usage(ask(talk, index)) for index in range(3)]
    events = list(talk.say(question(3), overflow="enlarge"))
    assert notices(events)[0].startswith("The context grows to 2048 tokens: ")
    assert [request.context for request in engine.loads] == [512, 2048]
    assert any(isinstance(event, Loading | Opened) for event in events)
    assert list(engine.kept) == [str(snapshot_path(places, log.id))]
    assert finished(events).usage.cached_tokens == held(uses[-1]), "nothing is evaluated again"
    assert talk.transcript.left_out == 0
    assert talk.settings.value("ctx") == 2048
    assert usage(ask(talk, 4)).cached_tokens == held(finished(events).usage)
    talk.close()
    assert ValueSet("ctx", "2048") in open_session(places, log.id).records


def test_enlarging_a_chat_that_is_not_saved_evaluates_again(start: Start) -> None:
    engine = FakeEngine(*[ANSWER] * 4)
    talk = start(engine, overflow="enlarge")
    events = ask(talk, 0, 1, 2, 3)
    assert engine.loads[-1].context == 2048
    assert finished(events).usage.cached_tokens == 0
    assert not engine.kept


def test_no_larger_context_leaves_the_person_to_choose(start: Start, model_file: Path) -> None:
    talk = start(FakeEngine(*[ANSWER] * 3), model=model_file, overflow="enlarge")
    ask(talk, 0, 1, 2)
    before = talk.dialogue
    with pytest.raises(PromptTooLong) as caught:
        ask(talk, 3)
    assert "No larger context fits" in caught.value.hint
    assert talk.dialogue is before


def test_an_interrupt_while_the_context_grows_changes_nothing(start: Start) -> None:
    engine, log = FakeEngine(*[ANSWER] * 4), Memory()
    talk = start(engine, log)
    ask(talk, 0, 1, 2)
    before = talk.dialogue
    engine.on_step = lambda name: talk.interrupt() if name == "load" else None
    events = list(talk.say(question(3), overflow="enlarge"))
    assert not any(isinstance(event, Finished | Opened) for event in events)
    assert talk.dialogue is before
    engine.on_step = lambda _name: None
    list(talk.say(question(3), overflow="drop"))
    assert [request.context for request in engine.loads] == [512, 2048, 512]
    assert len(answers(talk)) == 4


def test_a_larger_context_that_cannot_be_loaded_is_not_asked_for_again(start: Start) -> None:
    engine = FakeEngine(*[ANSWER] * 4)
    talk = start(engine)
    ask(talk, 0, 1, 2)
    engine.dies_at = "load"
    with pytest.raises(EngineDied):
        list(talk.say(question(3), overflow="enlarge"))
    assert "ctx" not in talk.dialogue.values
    list(talk.say(question(3), overflow="drop"))
    assert engine.loads[-1].context == 512


def test_stopping_refuses_with_the_numbers(start: Start) -> None:
    engine, log = FakeEngine(*[ANSWER] * 3), Memory()
    talk = start(engine, log, overflow="stop")
    ask(talk, 0, 1, 2)
    before, records = talk.dialogue, [*log.kept]
    with pytest.raises(PromptTooLong) as caught:
        ask(talk, 3)
    assert str(3 * TURN + LAST) in caught.value.message
    assert str(512 - 128) in caught.value.message
    assert "--ctx" in caught.value.hint
    assert (talk.dialogue, log.kept) == (before, records)


def test_unanswered_and_interrupted_turns_within_the_window(start: Start) -> None:
    engine, log = FakeEngine(ANSWER, "", "z" + ANSWER, ANSWER, ANSWER, "fine"), Memory()
    talk = start(engine, log, overflow="drop")
    ask(talk, 0, 1)
    until(talk.say(question(2)), "z", talk)
    assert [turn.assistant for turn in talk.transcript.turns] == [ANSWER, "", "z"]
    assert talk.transcript.turns[2].interrupted
    ask(talk, 3)
    full = list(talk.say("n" * 120, overflow="ask"))[-1]
    assert isinstance(full, Full)
    before = talk.transcript
    assert (full.turns, full.freed) == (1, TURN)
    list(talk.say("n" * 120))
    assert log.kept.count(Windowed(1)) == 1, "what was not answered takes no room"
    assert [turn.user for turn in talk.transcript.answered][:1] == [before.turns[2].user]
    list(talk.say("n" * 200))
    assert talk.transcript.left_out >= 3


def test_a_prompt_in_one_piece_frees_what_it_says(start: Start) -> None:
    def in_capitals(messages: Sequence[Message]) -> str:
        return chatml([replace(message, text=message.text.upper()) for message in messages])

    class CharByChar(FakeEngine):
        def _ids(self, piece: Piece) -> tuple[int, ...]:
            return super()._ids(Text(piece.name) if isinstance(piece, Control) else piece)

    engine = CharByChar(*[ANSWER] * 4, template=in_capitals)
    talk = start(engine, system="Be brief.")
    full = ask(talk, 0, 1, 2)[-1]
    assert isinstance(full, Full)
    events = list(talk.say(question(2), overflow="drop"))
    assert full.tokens - full.freed == finished(events).usage.prompt_tokens <= 384 * 3 // 4
    assert "QUESTION 0" not in engine.prompt()
    assert "BE BRIEF." in engine.prompt()


def test_the_price_names_the_layers_that_leave_the_gpu(settings: MakeSettings) -> None:
    larger = enlarged(opened(plan=plan_of(RAM, ("CUDA0", VRAM))), settings(), 7500)
    assert larger is not None
    assert larger.context == 16384
    assert larger.effect.startswith(f"{format_bytes(0)} more KV cache, 4 fewer layers' experts in VRAM")


def test_mixtral_s_system_text_moves_to_the_next_message_and_counts(start: Start, mixtral: Path) -> None:
    engine = FakeEngine(*[" " + "a" * 200] * 3, " fine")
    talk = start(engine, model=mixtral, ctx=2048, system="s" * 300)
    for index in range(3):
        list(talk.say(question(index) * 5))
    full = list(talk.say("b" * 200))[-1]
    assert isinstance(full, Full)
    events = list(talk.say("b" * 200, overflow="drop"))
    assert finished(events).usage.prompt_tokens == full.tokens - full.freed <= 1536
    assert engine.prompt().startswith("<s>[INST] " + "s" * 300 + "\n\nquestion ")
    assert "question 0" not in engine.prompt()


def test_a_system_text_that_leaves_no_room_is_refused_before_anything_is_dropped(start: Start, mixtral: Path) -> None:
    engine = FakeEngine(*[" " + "a" * 200] * 2)
    talk = start(engine, model=mixtral, ctx=2048)
    list(talk.say("Hello"))
    talk.set_system("s" * 2040)
    before = talk.dialogue
    with pytest.raises(PromptTooLong):
        list(talk.say("Hello", overflow="drop"))
    assert talk.dialogue is before


def test_a_turn_before_the_window_can_be_gone_back_to(start: Start) -> None:
    engine = FakeEngine(*[ANSWER] * 6)
    talk = start(engine, overflow="drop")
    ask(talk, 0, 1, 2, 3, 4)
    assert talk.transcript.left_out == 2
    talk.past.undo(4)
    assert talk.transcript.left_out == 0
    ask(talk, 1)
    assert "question 0" in engine.prompt()
    assert turns(talk) == (Turn(question(0), ANSWER), Turn(question(1), ANSWER))
