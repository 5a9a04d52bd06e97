"""A chat and the session that it is kept in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.conversing import Conversation
from mixchat.app.recording import Log
from mixchat.app.shelf import Shelf
from mixchat.chat.journal import (
    Answered,
    Asked,
    Forked,
    ModelChosen,
    Named,
    Record,
    Rewound,
    SystemSet,
    ValueSet,
    WentBack,
    Windowed,
    replay,
)
from mixchat.chat.messages import Turn
from mixchat.engine.events import Finished, Token
from mixchat.errors import EngineDied, NotFound, OutputError, UsageError
from mixchat.store.personas import Persona
from mixchat.store.places import Places
from mixchat.store.session_file import read_file, session_path, sessions_folder
from mixchat.store.sessions import Session, Unsaved, create, open_session
from mixchat.store.settings import Settings, resolve
from mixchat.store.snapshots import snapshot_path
from tests.app.conftest import MakeHouse, MakeSettings
from tests.app.talks import Memory, answers, finished, noon, notices, turns, write_model
from tests.fakes.engine import FakeEngine

Start = Callable[..., Conversation]
Fresh = Callable[[], Session]

LONG = "l" * 150
"""An answer that makes a state worth keeping."""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("other") / "other.gguf", "another template")


@pytest.fixture
def start(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> Start:
    def make(engine: FakeEngine, log: Log, model: Path | None = model_file, **flags: object) -> Conversation:
        return Conversation(make_house(engine), settings(**flags), str(model) if model else None, log)

    return make


@pytest.fixture
def fresh(places: Places) -> Fresh:
    """Sessions that have nothing in them."""
    return lambda: create(places, noon())


def say(talk: Conversation, *texts: str) -> Finished:
    """Say these; the end of the last answer."""
    return [finished(list(talk.say(text))) for text in texts][-1]


def left(talk: Conversation) -> str:
    """Leave a chat as the command does; its session."""
    assert talk.keep() == ()
    talk.close()
    return talk.session


def written(places: Places, session: str) -> tuple[Record, ...]:
    """What lies on disk."""
    return read_file(places, session).records


class Watched(Memory):
    """A log that tells when something is written."""

    def __init__(self, happened: list[object]) -> None:
        super().__init__()
        self._happened = happened

    def append(self, record: Record, *records: Record, sync: bool = True) -> None:
        super().append(record, *records, sync=sync)
        self._happened += [(type(each), sync) for each in (record, *records)]


def test_what_is_written_when(start: Start) -> None:
    happened: list[object] = []
    talk = start(FakeEngine("Hi"), Watched(happened))
    for event in talk.say("Hello"):
        happened += [type(event)] if isinstance(event, Token | Finished) else []
    first, last = (Asked, False), (Answered, True)
    assert happened == [(ModelChosen, False), first, Token, Token, last, Finished]


def test_all_that_happens_is_in_the_session(start: Start, fresh: Fresh, places: Places, other: Path) -> None:
    talk = start(FakeEngine(*"abcdefg"), fresh(), system="Be brief.")
    assert not sessions_folder(places).exists(), "nothing was said yet"
    say(talk, "one", "two")
    talk.past.fork("here")
    talk.past.undo()
    talk.set_system("Be kind.")
    talk.set_value("temperature", "0.3")
    talk.name_it("greetings")
    list(talk.use_model(str(other)))
    say(talk, "three")
    talk.past.back("here")
    list(talk.regenerate())
    list(talk.go_on())
    talk.past.rewrite(0, "A")
    list(talk.say("x", after=0))
    talk.close()
    records = written(places, talk.session)
    assert [type(each) for each in records] == [
        *(ModelChosen, SystemSet, Asked, Answered, Asked, Answered),
        *(Forked, Rewound, SystemSet, ValueSet, Named, ModelChosen, Asked, Answered, Forked, WentBack),
        *(Answered, Answered, Forked, Answered, Forked, Asked, Answered),
    ]
    assert replay(records) == talk.dialogue


def test_a_chat_goes_on_where_it_was(start: Start, fresh: Fresh, places: Places, other: Path) -> None:
    engine = FakeEngine(*"abcdef")
    talk = start(engine, fresh(), system="Be brief.")
    say(talk, "one", "two", "three")
    talk.set_value("temperature", "0.3")
    talk.set_value("ctx", "256")
    list(talk.use_model(str(other)))
    talk.past.fork("here")
    talk.past.undo()
    resumed = start(FakeEngine("x"), open_session(places, left(talk)), model=None)
    assert resumed.dialogue == talk.dialogue
    assert resumed.told == ()
    assert (resumed.settings.value("temperature"), resumed.settings.value("ctx")) == (0.3, 256)
    assert [event.text for event in resumed.say("four") if isinstance(event, Token)] == ["x"]
    assert resumed.opened is not None
    assert Path(resumed.opened.request.path) == other
    resumed.close()
    assert replay(written(places, talk.session)) == resumed.dialogue


def test_going_on_and_saying_nothing_writes_nothing(start: Start, fresh: Fresh, places: Places) -> None:
    talk = start(FakeEngine("a"), fresh())
    say(talk, "one")
    session = left(talk)
    before = session_path(places, session).read_bytes()
    resumed = start(FakeEngine(), open_session(places, session), temperature=0.1, system="Other.")
    list(resumed.open())
    left(resumed)
    assert session_path(places, session).read_bytes() == before


def test_what_the_command_is_given_wins(start: Start, fresh: Fresh, places: Places, other: Path) -> None:
    talk = start(FakeEngine("a"), fresh(), system="Be brief.")
    talk.set_value("temperature", "0.3")
    talk.set_value("top_k", "7")
    say(talk, "one")
    flags = {"temperature": 0.9, "system": "Be kind."}
    resumed = start(FakeEngine("b"), open_session(places, left(talk)), model=other, **flags)
    assert resumed.told == ()
    assert resumed.transcript.system == "Be kind."
    assert (resumed.settings.value("temperature"), resumed.settings.value("top_k")) == (0.9, 7)
    assert resumed.dialogue.model == str(other)
    say(resumed, "two")
    resumed.close()
    again = replay(written(places, talk.session))
    assert (again.model, again.transcript.system, dict(again.values)) == (str(other), "Be kind.", {"top_k": "7"})


def test_a_persona_wins_and_the_environment_does_not(
    make_house: MakeHouse, model_file: Path, fresh: Fresh, start: Start, places: Places
) -> None:
    talk = start(FakeEngine("a"), fresh(), system="Be brief.")
    talk.set_value("temperature", "0.3")
    say(talk, "one")
    session = left(talk)
    environ = {"MIXCHAT_SYSTEM": "Be loud.", "MIXCHAT_TEMPERATURE": "1.5", "MIXCHAT_MODEL": "demo"}
    base = resolve({}, environ, None, Path("config.toml"))

    def system_of(settings: Settings) -> tuple[str, float, str]:
        log = open_session(places, session)
        resumed = Conversation(make_house(FakeEngine()), settings, None, log)
        resumed.close()
        return resumed.transcript.system, resumed.settings.value("temperature"), resumed.dialogue.model

    persona = Persona("pirate", Path("pirate.toml"), "", None, {"system": "Arr.", "temperature": 0.7})
    assert system_of(base) == ("Be brief.", 0.3, str(model_file))
    assert system_of(base.with_persona(persona)) == ("Arr.", 0.7, str(model_file))
    new = Conversation(make_house(FakeEngine()), base, None, fresh())
    assert (new.transcript.system, new.dialogue.model) == ("Be loud.", "demo")


def test_a_stored_value_that_counts_no_longer(start: Start) -> None:
    stored = (ValueSet("overflow", "gone"), ValueSet("warmth", "3"), ValueSet("top_k", "7"))
    log = Memory(*stored, Answered(0, Turn("one", "a")))
    talk = start(FakeEngine("b"), log)
    assert [each.text.split(":")[0] for each in talk.told] == [
        "The session sets overflow to 'gone', which counts no longer",
        "The session sets warmth to '3', which counts no longer",
    ]
    assert talk.dialogue.values == {"top_k": "7"}
    assert len(log.kept) == 4
    say(talk, "two")
    assert log.kept[5:7] == [ValueSet("overflow", ""), ValueSet("warmth", "")]


def test_a_message_without_an_answer_is_given_back(start: Start, fresh: Fresh, places: Places) -> None:
    engine = FakeEngine("a", "b")
    talk = start(engine, fresh())
    say(talk, "one")
    engine.dies_at = "prefill"
    with pytest.raises(EngineDied):
        list(talk.say("two"))
    assert talk.dialogue.draft == "two"
    resumed = start(FakeEngine("b"), open_session(places, left(talk)))
    assert resumed.dialogue.draft == "two"
    assert answers(resumed) == ["a"]
    say(resumed, "two")
    assert resumed.dialogue.draft == ""
    resumed.close()


@pytest.mark.parametrize("at", ["H", "i"])
def test_a_terminated_chat_keeps_what_was_said(at: str, start: Start, fresh: Fresh, places: Places) -> None:
    talk = start(FakeEngine("Hi"), fresh())
    events = talk.say("Hello")
    while True:
        event = next(events)
        if isinstance(event, Token) and event.text == at:
            break
    events.close()
    session = left(talk)
    assert replay(written(places, session)).transcript.turns == talk.transcript.turns
    assert turns(talk) == (Turn("Hello", "Hi"[: "Hi".index(at) + 1], interrupted=True),)


def test_a_second_ctrl_c_keeps_what_was_said(start: Start, fresh: Fresh, places: Places) -> None:
    engine = FakeEngine("Hi", "Fine")
    talk = start(engine, fresh())
    events = talk.say("Hello")

    def give_up(step: str) -> None:
        if step == "decode" and next(texts, None) is None:
            talk.kill()
            raise KeyboardInterrupt

    texts = iter(["H"])
    engine.on_step = give_up
    with pytest.raises(KeyboardInterrupt):
        list(events)
    assert turns(talk) == (Turn("Hello", "H", interrupted=True),)
    engine.on_step = lambda _step: None
    say(talk, "And you?")
    talk.close()
    assert replay(written(places, talk.session)).transcript.turns == talk.transcript.turns
    assert len(engine.loads) == 2


def test_a_chat_that_ends_while_its_prompt_is_evaluated_gives_the_words_back(
    start: Start, fresh: Fresh, places: Places
) -> None:
    talk = start(FakeEngine("Hi"), fresh())
    list(talk.open())
    events = talk.say("Hello")
    next(events)
    events.close()
    session = left(talk)
    assert replay(written(places, session)).draft == "Hello"
    assert turns(talk) == ()


def test_a_session_that_cannot_be_written(start: Start, fresh: Fresh, places: Places) -> None:
    places.data.mkdir(parents=True)
    sessions_folder(places).write_text("in the way")
    talk = start(FakeEngine(LONG, *"bcd"), fresh())
    told = notices(talk.say("one"))
    assert len(told) == 1
    assert told[0].startswith("This chat is not saved: ")
    assert told[0].endswith("It goes on all the same.")
    assert notices(talk.say("two")) == []
    assert talk.past.undo() == ()
    assert talk.keep() == (), "there is no session that its state would belong to"
    assert answers(talk) == [LONG]
    sessions_folder(places).unlink()
    assert notices(talk.say("three")) == []
    assert replay(written(places, talk.session)) == talk.dialogue
    say(talk, "four")
    talk.close()
    assert replay(written(places, talk.session)) == talk.dialogue


def test_a_session_that_cannot_be_written_again_is_told_again(start: Start) -> None:
    class Faulty(Unsaved):
        full = True

        def append(self, record: Record, *records: Record, sync: bool = True) -> None:  # noqa: ARG002
            if self.full:
                raise OutputError("The disk is full.", "Free some space.")

    log = Faulty()
    talk = start(FakeEngine(*"abc"), log)
    assert len(notices(talk.say("one"))) == 1
    log.full = False
    assert notices(talk.say("two")) == []
    log.full = True
    assert notices(talk.say("three")) == ["This chat is not saved: The disk is full. It goes on all the same."]


def test_a_chat_begun_again_keeps_model_system_and_settings(
    start: Start, fresh: Fresh, places: Places, other: Path
) -> None:
    engine = FakeEngine(LONG, "b", "c")
    talk = start(engine, fresh(), system="Be brief.")
    say(talk, "one")
    list(talk.use_model(str(other)))
    talk.set_system("Be kind.")
    talk.set_value("temperature", "0.3")
    talk.set_value("ctx", "256")
    talk.name_it("first")
    talk.past.fork()
    first, before = talk.session, talk.dialogue
    assert talk.begin_again(fresh()) == ()
    assert talk.session != first
    assert talk.dialogue == replace(before, transcript=replace(before.transcript, turns=()), name="", checkpoints=())
    assert talk.reloads, "the context that was asked for is not there yet"
    assert not session_path(places, talk.session).exists()
    assert talk.context.used == 0
    say(talk, "two")
    assert engine.loads[-1].context == 256
    talk.close()
    assert replay(written(places, talk.session)) == talk.dialogue
    assert replay(written(places, first)) == before
    with open_session(places, first):
        pass


def test_a_chat_begun_again_uses_what_is_evaluated_of_the_system_text(start: Start, fresh: Fresh) -> None:
    engine = FakeEngine(LONG, "b")
    talk = start(engine, fresh(), system="Be brief.")
    say(talk, "one")
    talk.begin_again(fresh())
    assert say(talk, "two").usage.cached_tokens == len("Be brief.") + 2
    assert len(engine.loads) == 1
    talk.close()


def test_a_window_outlives_the_session(start: Start, fresh: Fresh, places: Places) -> None:
    engine = FakeEngine(*[LONG] * 4)
    talk = start(engine, fresh(), overflow="drop")
    say(talk, "one", "two", "three", "four")
    resumed = start(second := FakeEngine("d"), open_session(places, left(talk)), overflow="drop")
    assert Windowed(2) in written(places, talk.session)
    assert resumed.transcript == talk.transcript
    say(resumed, "five")
    assert "one" not in second.prompt()
    resumed.close()


def test_the_shelf(make_house: MakeHouse, start: Start) -> None:
    house = make_house(FakeEngine())
    shelf = Shelf(house)
    with pytest.raises(NotFound):
        shelf.open("")
    talk = start(FakeEngine("a", "b"), shelf.new())
    say(talk, "one")
    dialogue, about = shelf.told(talk)
    assert dialogue is talk.dialogue
    assert about.models == (talk.dialogue.model,)
    session = left(talk)
    assert [info.id for info in shelf.all()] == [session]
    assert [found.info.id for found in shelf.search("one")] == [session]
    assert shelf.other("", "") == shelf.other(session[:-1], session) == session
    with pytest.raises(NotFound, match="no other session"):
        shelf.other("", session)
    with shelf.open("") as log:
        assert log.id == session
    assert shelf.models() == ()


def test_the_shelf_of_a_chat_that_is_not_saved(make_house: MakeHouse, start: Start, places: Places) -> None:
    shelf = Shelf(make_house(FakeEngine()), saving=False)
    assert shelf.new().id == ""
    with pytest.raises(UsageError, match="not saved"):
        shelf.open("")
    talk = start(FakeEngine(LONG), shelf.new())
    say(talk, "one")
    dialogue, about = shelf.told(talk)
    assert (dialogue, about.models) == (talk.dialogue, (talk.dialogue.model,))
    left(talk)
    for folder in (sessions_folder(places), snapshot_path(places, "20250102-1200-abcd").parent):
        assert not folder.exists()
