from datetime import UTC, datetime

import pytest

from mixchat.app.asking import Question, ask
from mixchat.app.events import Notice
from mixchat.app.house import House
from mixchat.app.remembering import Memory, log_for, remember
from mixchat.chat.journal import Answered, ModelChosen, SystemSet, replay
from mixchat.chat.messages import Message, Turn
from mixchat.engine.events import Token
from mixchat.errors import NotFound, OutputError
from mixchat.store.places import Places
from mixchat.store.session_index import latest, list_sessions, read_session
from mixchat.store.sessions import create
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import FakeEngine

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    return make_house(FakeEngine("One", "Two", "Three"))


def begin(house: House, settings: MakeSettings, model: str | None, *, go_on: bool = False, **flags: object) -> Memory:
    return remember(log_for(house, saving=True, go_on=go_on), settings(**flags), model)


def test_an_answer_is_kept_and_gone_on_with(
    house: House, settings: MakeSettings, model_file: object, places: Places
) -> None:
    model = str(model_file)
    first = begin(house, settings, model, system="Be brief.")
    messages = first.messages("a")
    assert messages == (Message("system", "Be brief."), Message("user", "a"))
    list(first.keeping(ask(house, settings(), Question(model, messages)), messages))
    first.log.close()
    kept = read_session(places, latest(places, "ask"))
    assert kept.purpose == "ask"
    assert kept.records == (ModelChosen(model), SystemSet("Be brief."), Answered(0, Turn("a", "One")))
    second = begin(house, settings, None, go_on=True)
    assert second.dialogue.model == model
    messages = second.messages("b")
    assert messages[-3:] == (Message("user", "a"), Message("assistant", "One"), Message("user", "b"))
    list(second.keeping(ask(house, settings(), Question(model, messages)), messages))
    second.log.close()
    (info,) = list_sessions(places)
    assert (info.turns, info.purpose) == (2, "ask")


def test_a_conversation_of_messages_is_kept_whole(
    house: House, settings: MakeSettings, model_file: object, places: Places
) -> None:
    model = str(model_file)
    memory = begin(house, settings, model)
    talk = [Message("system", "s"), Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    list(memory.keeping(ask(house, settings(), Question(model, tuple(talk))), talk))
    transcript = replay(read_session(places, latest(places, "ask")).records).transcript
    assert (transcript.system, transcript.turns) == ("s", (Turn("a", "b"), Turn("c", "One")))
    memory.log.close()


def test_an_answer_that_is_cut_short_is_kept_when_the_iterator_is_closed(
    house: House, settings: MakeSettings, model_file: object, places: Places
) -> None:
    memory = begin(house, settings, str(model_file))
    messages = memory.messages("a")
    events = memory.keeping(ask(house, settings(), Question(str(model_file), messages)), messages)
    for event in events:
        if isinstance(event, Token):
            break
    events.close()
    transcript = replay(read_session(places, latest(places, "ask")).records).transcript
    assert transcript.turns == (Turn("a", "O", interrupted=True),)
    memory.log.close()


def test_without_an_answer_nothing_is_kept(house: House, settings: MakeSettings, places: Places) -> None:
    memory = begin(house, settings, "none.gguf")
    messages = memory.messages("a")
    with pytest.raises(NotFound):
        list(memory.keeping(ask(house, settings(), Question("none.gguf", messages)), messages))
    assert list_sessions(places) == ()


def test_an_answer_that_cannot_be_kept_is_one_all_the_same(
    house: House, settings: MakeSettings, model_file: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = begin(house, settings, str(model_file))

    def fail(*_records: object) -> None:
        raise OutputError("The disk is full.", "Free some space.")

    monkeypatch.setattr(memory.log, "append", fail)
    messages = memory.messages("a")
    events = memory.keeping(ask(house, settings(), Question(str(model_file), messages)), messages)
    assert [event for event in events if isinstance(event, Notice)] == [
        Notice("This answer is not saved: The disk is full.")
    ]


def test_chats_and_questions_each_have_a_last_one(house: House, places: Places) -> None:
    with pytest.raises(NotFound, match="no session to go on with"):
        log_for(house, saving=True, go_on=True)
    sessions = (("chat", create(places, NOON)), ("ask", create(places, NOON, "ask")), ("chat", create(places, NOON)))
    for name, session in sessions:
        with session:
            session.append(ModelChosen(name))
    assert read_session(places, latest(places, "ask")).records == (ModelChosen("ask"),)
    assert read_session(places, latest(places)).records == (ModelChosen("chat"),)
    unsaved = log_for(house, saving=False, go_on=True)
    assert (unsaved.id, tuple(unsaved.records)) == ("", (ModelChosen("ask"),))
    assert log_for(house, saving=False, go_on=False).id == ""
