"""The evaluated state of a chat: kept with its session, and restored."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from mixchat.app.conversing import Conversation
from mixchat.app.recording import Log
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, StateKept, StateKey, Token
from mixchat.errors import EngineDied, EngineError, OutputError
from mixchat.store.places import Places
from mixchat.store.proofs import Proof
from mixchat.store.sessions import Session, Unsaved, create, open_session
from mixchat.store.snapshots import snapshot_path
from tests.app.conftest import MakeHouse, MakeSettings
from tests.app.talks import answers, finished, held, noon, notices, usage, write_model
from tests.fakes.engine import FakeEngine

Start = Callable[..., Conversation]
Fresh = Callable[[], Session]

LONG = "l" * 150
"""An answer that makes a state worth keeping."""
KV_BYTES = 2 * 2 * 64 * 2
"""Of one token in f16: keys and values of 2 heads of 64 in one layer."""


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


def test_a_kept_state_is_restored_with_the_session(start: Start, fresh: Fresh, places: Places) -> None:
    engine = FakeEngine(LONG, "b")
    talk = start(engine, fresh())
    end = say(talk, "one")
    session = left(talk)
    path = snapshot_path(places, session)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    (key, tokens) = engine.kept[str(path)]
    assert talk.context.state_bytes == len(tokens) * KV_BYTES
    assert len(tokens) == held(end.usage)
    second = FakeEngine("b")
    second.kept = engine.kept
    resumed = start(second, open_session(places, session))
    list(resumed.open())
    assert resumed.context.to_evaluate() == 0
    assert resumed.context.used == held(end.usage)
    assert say(resumed, "two").usage.cached_tokens == held(end.usage)
    left(resumed)
    assert second.kept[str(path)][0] == key == StateKey(key.model)


def test_a_state_of_another_model_is_evaluated_again_and_told(
    start: Start, fresh: Fresh, places: Places, other: Path
) -> None:
    engine = FakeEngine(LONG)
    talk = start(engine, fresh())
    say(talk, "one")
    second = FakeEngine("b")
    second.kept = engine.kept
    resumed = start(second, open_session(places, left(talk)), model=other)
    told = notices(resumed.open())
    assert told == ["The 155 tokens of this chat are evaluated again: It was kept for another model."]
    assert resumed.context.to_evaluate() == 155
    assert say(resumed, "two").usage.cached_tokens == 0
    resumed.close()


def test_the_experts_used_are_part_of_the_key(start: Start, fresh: Fresh, places: Places) -> None:
    engine = FakeEngine(LONG, LONG)
    talk = start(engine, fresh())
    say(talk, "one")
    talk.set_value("experts_used", "1")
    assert any("155 tokens of this chat are evaluated again" in text for text in notices(talk.say("two")))
    left(talk)
    assert engine.kept[str(snapshot_path(places, talk.session))][0].model.endswith(" 1")


def test_when_no_state_is_kept(start: Start, fresh: Fresh) -> None:
    def kept(log: Log, reply: str, **flags: object) -> bool:
        engine = FakeEngine(reply)
        talk = start(engine, log, **flags)
        say(talk, "one")
        talk.keep()
        talk.close()
        return bool(engine.kept)

    assert kept(fresh(), LONG)
    assert not kept(fresh(), "short"), "evaluating it again is as quick"
    assert not kept(Unsaved(), LONG), "nothing of it may be written"
    assert not kept(fresh(), LONG, snapshots=0)
    assert not kept(fresh(), LONG, overflow="drop", snapshots="0")
    dead = FakeEngine(LONG)
    talk = start(dead, fresh())
    say(talk, "one")
    dead.close()
    assert talk.keep() == ()
    assert not dead.kept


@pytest.mark.parametrize("error", [OutputError, EngineError])
def test_a_state_that_cannot_be_kept_is_told(error: type[OutputError], start: Start, fresh: Fresh) -> None:
    class Full(FakeEngine):
        def keep_state(self, path: str, key: StateKey) -> StateKept:  # noqa: ARG002
            raise error("There is no room.", "Free some.")

    talk = start(Full(LONG), fresh())
    say(talk, "one")
    (notice,) = talk.keep()
    assert notice.text == "The evaluated chat is not kept: There is no room. Resuming evaluates it again."
    talk.close()


def test_a_kept_state_that_kills_the_engine_does_so_once(start: Start, fresh: Fresh, places: Places) -> None:
    engine = FakeEngine(LONG)
    talk = start(engine, fresh())
    say(talk, "one")
    session = left(talk)
    path = snapshot_path(places, session)
    path.touch(0o600)
    second = FakeEngine("b", dies_at="restore")
    resumed = start(second, open_session(places, session))
    with pytest.raises(EngineDied):
        list(resumed.open())
    assert not path.exists()
    say(resumed, "two")
    assert answers(resumed) == [LONG, "b"]
    resumed.close()


def test_another_session_is_taken_up_with_its_state(start: Start, fresh: Fresh, places: Places) -> None:
    engine = FakeEngine(LONG, "m" * 140, "b")
    talk = start(engine, fresh())
    first_end = say(talk, "one")
    first = talk.session
    talk.begin_again(fresh())
    assert list(engine.kept) == [str(snapshot_path(places, first))]
    say(talk, "zwei")
    second = talk.session
    assert talk.take_up(open_session(places, first)) == ()
    assert answers(talk) == [LONG]
    kept = dict(engine.kept)
    assert talk.keep() == ()
    assert engine.kept == kept, "what is evaluated is the other session's"
    assert say(talk, "two").usage.cached_tokens == held(first_end.usage)
    assert len(engine.loads) == 1
    talk.close()
    with open_session(places, second):
        pass


def test_a_session_with_another_model_is_taken_up_with_its_state(
    start: Start, fresh: Fresh, places: Places, other: Path, model_file: Path
) -> None:
    engine = FakeEngine(LONG, "m" * 140, "b")
    talk = start(engine, fresh())
    first_end = say(talk, "one")
    first = talk.session
    talk.begin_again(fresh())
    list(talk.use_model(str(other)))
    say(talk, "zwei")
    talk.take_up(open_session(places, first))
    events = list(talk.say("two"))
    assert notices(events) == []
    assert usage(events).cached_tokens == held(first_end.usage)
    assert [Path(request.path) for request in engine.loads] == [model_file, other, model_file]
    talk.close()


def test_a_session_with_other_settings_loads_the_model_again(start: Start, fresh: Fresh, places: Places) -> None:
    engine = FakeEngine(LONG, "m" * 140, "b", "c")
    talk = start(engine, fresh())
    say(talk, "one")
    first = talk.session
    talk.begin_again(fresh())
    talk.set_value("ctx", "256")
    say(talk, "zwei")
    talk.take_up(open_session(places, first))
    assert talk.reloads
    say(talk, "two", "three")
    assert [request.context for request in engine.loads] == [512, 256, 512]
    talk.close()


def test_a_change_of_model_keeps_the_state_for_the_way_back(
    start: Start, fresh: Fresh, places: Places, other: Path, model_file: Path
) -> None:
    engine = FakeEngine(LONG, "b")
    talk = start(engine, fresh())
    end = say(talk, "one")
    list(talk.use_model(str(other)))
    assert list(engine.kept) == [str(snapshot_path(places, talk.session))]
    list(talk.use_model(str(model_file)))
    assert say(talk, "two").usage.cached_tokens == held(end.usage)
    talk.close()


@pytest.fixture
def resume(make_house: MakeHouse, settings: MakeSettings, demo_model: Path) -> Iterator[Callable[[Log], Conversation]]:
    """Chats with the demo model, each with a llama.cpp of its own."""
    engines: list[WorkerClient] = []

    def begin(log: Log) -> Conversation:
        for engine in engines:
            engine.close()
        engines.append(WorkerClient(os.environ))
        flags = {"temperature": 0.0, "max_tokens": 8, "ctx": 1024, "threads": 2}
        house = make_house(engines[-1], Proof(extra_buffers=False, reason=""))
        return Conversation(house, settings(**flags), str(demo_model), log)

    yield begin
    for engine in engines:
        with closing(engine):
            pass


def test_real_llama_cpp_goes_on_at_once(resume: Callable[[Log], Conversation], fresh: Fresh, places: Places) -> None:
    story = "The keeper of the lighthouse counted the ships that passed in the night. " * 15
    talk = resume(fresh())
    first = usage(talk.say(story))
    session = left(talk)
    path = snapshot_path(places, session)
    assert path.stat().st_mode & 0o777 == 0o600
    os.utime(path, (0, (noon() - timedelta(days=9)).timestamp()))
    before = path.stat().st_mtime
    talk = resume(open_session(places, session))
    list(talk.open())
    assert path.stat().st_mtime > before, "it was used"
    assert talk.context.to_evaluate() <= 1, "the token that was sampled last"
    second = usage(talk.say("And then?"))
    assert second.cached_tokens == held(first) - 1

    events = talk.say("What else?")
    with suppress(StopIteration):
        while not isinstance(next(events), Token):
            pass
    events.close()
    session = left(talk)
    talk = resume(open_session(places, session))
    assert talk.transcript.turns[-1].interrupted
    third = usage(talk.say("Really?"))
    assert third.cached_tokens > held(second), "the interrupted turn too"
    left(talk)
