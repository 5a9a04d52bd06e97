"""Old sessions of `ask` go; a chat's, open ones and those that a person went on with stay."""

import os
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from mixchat.chat.journal import Answered, Asked, Named, Record, ValueSet
from mixchat.store import session_removal as module
from mixchat.store.places import Places
from mixchat.store.session_file import asked_ids, header_of, read_file, session_ids, session_path, sessions_folder
from mixchat.store.session_index import latest
from mixchat.store.sessions import create, open_session
from mixchat.store.snapshots import snapshot_path
from tests.store.session_samples import NOW, add, made, turn

MOST = 3
ANSWER = Answered(0, turn(0))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.prune_asked, "__defaults__", (MOST,))


def asked(places: Places, age: int = 0, *more: Record) -> str:
    """The id of a session that `ask` began, changed so many hours before now."""
    with create(places, NOW, "ask") as session:
        session.append(ANSWER, *more)
    back_dated(places, session.id, age)
    return session.id


def back_dated(places: Places, session: str, age: int) -> None:
    when = (NOW - timedelta(hours=age)).timestamp()
    os.utime(session_path(places, session), (when, when))


def test_those_that_were_changed_last_stay_with_all_chats(places: Places) -> None:
    chats = [made(places, now=NOW - timedelta(days=day)) for day in range(4)]
    old = [asked(places, age) for age in (4, 9, 6)]
    snapshot_path(places, old[1], make_folder=True).write_bytes(b"kv")
    new = asked(places)
    assert set(asked_ids(places)) == {old[0], old[2], new}
    assert set(session_ids(places)) == {*chats, old[0], old[2], new}
    assert not list(sessions_folder(places).glob(f"*{old[1]}*"))
    assert not snapshot_path(places, old[1]).exists()
    assert latest(places, "ask") == new


def test_going_on_with_an_old_one_makes_it_new(places: Places) -> None:
    old = [asked(places, age) for age in (9, 4, 3)]
    with open_session(places, old[0]) as session:
        session.append(Answered(1, turn(1)))
        back_dated(places, old[0], 1)
    new = asked(places)
    assert set(asked_ids(places)) == {old[0], old[2], new}


@pytest.mark.parametrize("record", [Asked("And now?"), Named("mine"), ValueSet("top_k", "1")])
def test_one_that_a_person_went_on_with_stays(places: Places, record: Record) -> None:
    kept = asked(places, 9, record)
    for age in (8, 7, 6, 5):
        asked(places, age)
    assert kept in session_ids(places)
    assert len(session_ids(places)) == MOST + 1


def test_one_that_is_open_stays(places: Places) -> None:
    with ExitStack() as stack:
        old = asked(places, 9)
        stack.enter_context(open_session(places, old))
        for age in (8, 7, 6, 5):
            asked(places, age)
        assert old in session_ids(places)
    asked(places, 4)
    assert old not in session_ids(places)


def test_one_that_is_damaged_or_a_chat_s_by_its_first_line_stays(places: Places) -> None:
    damaged, chat = asked(places, 9), asked(places, 9)
    add(places, damaged, b"{garbage")
    session_path(places, chat).write_bytes(header_of(chat, NOW))
    for session in (damaged, chat):
        back_dated(places, session, 9)
    for age in (8, 7, 6, 5):
        asked(places, age)
    assert {damaged, chat} <= set(session_ids(places))
    assert len(session_ids(places)) == MOST + 2


def test_what_cannot_be_removed_stops_no_answer(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [asked(places, age) for age in (9, 8, 7)]

    def refuse(_path: Path, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        new = asked(places)
    assert set(session_ids(places)) == {*old, new}
    assert read_file(places, new).records == (ANSWER,)


def test_nothing_goes_before_something_is_kept(places: Places) -> None:
    old = [asked(places, age) for age in (9, 8, 7)]
    with create(places, NOW, "ask"):
        assert set(session_ids(places)) == set(old)


WRITER = """
import os
from mixchat.chat.journal import Answered
from mixchat.store.places import find_places
from mixchat.store.session_file import session_path
from mixchat.store.sessions import create
from tests.store.session_samples import NOW, turn

places = find_places(os.environ)
for number in range(40):
    with create(places, NOW, "ask") as session:
        session.append(Answered(0, turn(number)), sync=False)
        print(session_path(places, session.id).stat().st_mtime_ns, session.id)
"""


def test_eight_processes_at_once_lose_nothing_new(places: Places) -> None:
    command = [sys.executable, "-c", WRITER]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    results = [writer.communicate(timeout=120) for writer in writers]
    assert [error for _out, error in results] == [""] * 8
    written = sorted(
        (int(when), session) for out, _error in results for when, session in map(str.split, out.splitlines())
    )
    newest = {session for _when, session in written[-module.MOST_ASKED :]}
    left = set(asked_ids(places))
    assert len(written) == 320
    assert newest <= left
    assert len(left) <= module.MOST_ASKED + len(writers)
