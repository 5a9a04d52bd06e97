"""What `ask` does beside answering: turns that are dropped, files that are counted, blocks that are taken out."""

from pathlib import Path

import pytest

from mixchat.app.asking import Question, ask, rehearse
from mixchat.app.events import Notice
from mixchat.app.extracting import block_of, first_block
from mixchat.chat.attachments import Attachment, render_attachments
from mixchat.chat.messages import Message
from mixchat.engine.events import Finished, Timings, Token, Usage
from mixchat.errors import BadAnswer, PromptTooLong, UsageError
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import FakeEngine, KeepingEngine

TURN = (Message("user", "x" * 120), Message("assistant", "y" * 60))
TALK = (Message("system", "Be brief."), *TURN, *TURN, *TURN, Message("user", "And now?"))
END = Finished("stop", Usage(1, 0, 1), Timings())


def test_the_oldest_turns_are_dropped_when_that_is_asked_for(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hi")
    events = list(ask(make_house(engine), settings(), Question(str(model_file), TALK, overflow="drop")))
    assert isinstance(events[-1], Finished)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices == ["The oldest 2 turns are left out: the context is full."]
    assert engine.prompt().count("<|im_start|>user") == 2
    assert "Be brief." in engine.prompt()
    assert engine.prompt().endswith("And now?<|im_end|>\n<|im_start|>assistant\n")
    rehearsal = rehearse(make_house(FakeEngine()), settings(), Question(str(model_file), TALK, overflow="drop"))
    assert rehearsal.prompt.notices == tuple(notices)


@pytest.mark.parametrize("overflow", ["fail", "drop"])
def test_what_cannot_be_dropped_fails(
    overflow: str, make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hi")
    messages = TALK if overflow == "fail" else (*TURN, Message("user", "z" * 600))
    with pytest.raises(PromptTooLong):
        list(ask(make_house(engine), settings(), Question(str(model_file), messages, overflow=overflow)))  # type: ignore[arg-type]
    assert engine.generations == []


def test_a_conversation_that_fits_is_left_as_it_is(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("Hi")
    events = list(ask(make_house(engine), settings(), Question(str(model_file), TALK[-1:], overflow="drop")))
    assert not any(isinstance(event, Notice) for event in events)


def test_a_rehearsal_counts_each_file(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    files = (Attachment("a.txt", "one"), Attachment("b.txt", "three"))
    question = Question(str(model_file), (Message("user", render_attachments(files, "?")),), attachments=files)
    rehearsal = rehearse(make_house(FakeEngine()), settings(), question)
    assert rehearsal.files == (
        ("a.txt", len("File a.txt:\n```\none\n```")),
        ("b.txt", len("File b.txt:\n```\nthree\n```")),
    )


def test_a_check_sees_the_whole_answer(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    def check(text: str) -> None:
        raise BadAnswer(f"It is {text}.", "Try again.")

    question = Question(str(model_file), TALK[-1:], check=check)
    with pytest.raises(BadAnswer, match="It is Hello"):
        list(ask(make_house(FakeEngine("Hello")), settings(), question))
    assert list(ask(make_house(FakeEngine("Hello")), settings(max_tokens=2), question))


def test_what_stays_of_a_prompt_is_evaluated_once(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = KeepingEngine("One", "Two", "Three")
    ends = []
    for what, cache in (("first", True), ("second", True), ("third", False)):
        messages = (Message("system", "s" * 300), Message("user", what))
        events = list(ask(make_house(engine), settings(), Question(str(model_file), messages, cache=cache)))
        assert isinstance(events[-1], Finished)
        ends.append(events[-1].usage.cached_tokens)
    fixed = {request.own_batch for request in engine.generations}
    (length,) = fixed
    assert length > 300
    assert ends == [0, length, 0]
    assert len(engine.evaluations) == 1


def test_files_stay_when_the_question_changes(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = KeepingEngine("One", "Two")
    for said in ("What is it?", "Who is it?"):
        messages = (Message("user", f"{'f' * 300}\n\n{said}"),)
        list(ask(make_house(engine), settings(), Question(str(model_file), messages, changing=said)))
    assert len(engine.evaluations) == 1
    assert engine.generations[0].own_batch == engine.generations[1].own_batch > 300


def test_a_wrong_grammar_is_refused_before_any_weights_are_loaded(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine()
    with pytest.raises(UsageError, match="no root"):
        list(ask(make_house(engine), settings(), Question(str(model_file), TALK[-1:], grammar="x")))
    assert [load.vocab_only for load in engine.loads] == [True]


def test_the_block_is_the_only_text_and_ends_the_answer() -> None:
    stops: list[str] = []
    answer = iter(
        (Token("So:\n```\n", 1), Token("a\n`", 2), Token("``\nb", 3), Finished("interrupted", END.usage, END.timings))
    )
    events = list(first_block(answer, lambda: stops.append("stop")))
    assert [event.text for event in events if isinstance(event, Token)] == ["", "a\n", ""]
    assert (events[-1], stops) == (END, ["stop"])


def test_a_block_that_the_answer_cuts_off_is_given_as_it_is() -> None:
    events = list(first_block(iter((Token("```\na\n``", 1), END)), lambda: None))
    assert "".join(event.text for event in events if isinstance(event, Token)) == "a\n``"
    assert block_of("```\na\n``", END) == "a\n``"


def test_without_a_block_it_fails_unless_it_was_interrupted() -> None:
    with pytest.raises(BadAnswer, match="no code block"):
        list(first_block(iter((Token("a", 1), END)), lambda: None))
    with pytest.raises(BadAnswer, match="no code block") as caught:
        list(first_block(iter((Token("a", 1), END)), lambda: None, "20261122-1137-ds7f7"))
    assert caught.value.hint.endswith("mixchat sessions show 20261122-1137-ds7f7")
    with pytest.raises(BadAnswer, match="no code block"):
        block_of("a", END)
    stopped = Finished("interrupted", END.usage, END.timings)
    assert list(first_block(iter((stopped,)), lambda: None)) == [stopped]
