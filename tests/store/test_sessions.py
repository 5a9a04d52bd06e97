"""Sessions: kept while they happen, by one writer, found again by id and name."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mixchat.chat.journal import Answered, Asked, Named, Record, Rewound, replay
from mixchat.chat.messages import Turn
from mixchat.errors import InUse, NotFound, OutputError, UsageError
from mixchat.store import sessions as module
from mixchat.store.places import Places
from mixchat.store.session_file import damaged_path, lock_path, read_file, session_ids, session_path
from mixchat.store.session_index import find, latest, list_sessions, read_session, search
from mixchat.store.sessions import Session, Unsaved, create, open_session, remove
from mixchat.store.snapshots import snapshot_path
from tests.store.session_samples import NOW, add, content, made, talk, turn

if TYPE_CHECKING:
    from collections.abc import Callable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_session_comes_back_as_it_was(places: Places) -> None:
    records = talk(3)
    session = made(places, *records)
    with open_session(places, session) as opened:
        assert (opened.id, opened.records, opened.notices) == (session, records, ())
        opened.append(Answered(3, turn(3)), Named("mine"))
        opened.append(Rewound(2), sync=False)
    assert read_file(places, session).records == (*records, Answered(3, turn(3)), Named("mine"), Rewound(2))
    assert content(places, session).startswith(b'{"sum":"')


def test_nothing_is_on_disk_before_the_first_record(places: Places) -> None:
    with create(places, NOW) as session:
        assert (session.records, session.notices) == ((), ())
        assert not places.data.exists()
    assert not places.data.exists()


def test_its_files_are_private_from_the_first_byte(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    write = os.write

    def noted(descriptor: int, data: bytes) -> int:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noted)
    umask = os.umask(0)
    try:
        session = made(places)
    finally:
        os.umask(umask)
    assert seen == [0o600]
    folder = places.data / "sessions"
    assert mode(folder) == 0o700
    assert {mode(each) for each in folder.iterdir()} == {0o600}
    assert session_path(places, session).parent == folder


def test_an_id_is_the_moment_in_utc_and_chance(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    east = datetime(2026, 11, 22, 6, 55, tzinfo=timezone(timedelta(hours=2)))
    session = made(places, now=east)
    assert re.fullmatch(r"20261122-0455-[2-9a-z]{4}", session)
    assert read_file(places, session).created == east
    drawn = iter([session, session, "20261122-0455-new2"])
    monkeypatch.setattr(module, "new_id", lambda _begun, _purpose: next(drawn))
    assert create(places, east).id == "20261122-0455-new2"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/", ".", "a\0b", "20261122-0455-k3f9/..", "x" * 5000])
def test_names_are_no_paths(places: Places, name: str) -> None:
    session = made(places, name=name)
    assert find(places, name) == session
    assert session_ids(places) == (session,)
    for function in (session_path, lock_path, damaged_path, snapshot_path):
        with pytest.raises(ValueError, match=re.escape(name)):
            function(places, name)


def test_a_session_is_found_by_id_name_and_the_beginning_of_its_id(places: Places) -> None:
    first = made(places, name="Rivers")
    second = made(places, now=NOW + timedelta(days=1))
    for ref in (first, "Rivers", "rivers", "20261122", first[:-1]):
        assert read_session(places, ref).id == first
    assert find(places, "20261123") == second
    with pytest.raises(UsageError) as several:
        find(places, "202611")
    assert first in several.value.hint
    assert second in several.value.hint
    for ref, hint in (("Riwers", "Did you mean Rivers?"), ("", "sessions list"), ("nothing like it", "sessions list")):
        with pytest.raises(NotFound) as missing:
            find(places, ref)
        assert hint in missing.value.hint


def test_two_sessions_of_one_name_are_told_apart_by_id(places: Places) -> None:
    ids = [made(places, name="same", now=NOW + timedelta(minutes=minute)) for minute in range(5)]
    with pytest.raises(UsageError, match="5 sessions") as caught:
        open_session(places, "same")
    assert caught.value.hint.endswith(", ...")
    assert ids[0] in caught.value.hint


def test_the_latest_is_what_was_changed_last(places: Places) -> None:
    with pytest.raises(NotFound, match="no session"):
        latest(places)
    first, second = made(places), made(places, now=NOW + timedelta(days=1))
    os.utime(session_path(places, second), (1, 1))
    assert latest(places) == first
    session_path(places, "20270101-0000-void").touch()
    assert latest(places) == first
    assert [info.id for info in list_sessions(places)] == [first, second]


def test_what_a_list_says(places: Places) -> None:
    assert list_sessions(places) == ()
    session = made(places, *talk(2), name="mine")
    (info,) = list_sessions(places)
    assert (info.id, info.name, info.title, info.turns, info.model) == (session, "mine", "Question 0", 2, "demo")
    assert info.started == NOW.replace(microsecond=0)
    assert info.nbytes == len(content(places, session))
    assert not info.damaged
    draft = made(places, Asked("\n  Not yet answered \n"), now=NOW + timedelta(days=1))
    assert {info.id: info.title for info in list_sessions(places)}[draft] == "Not yet answered"


def test_other_files_are_no_sessions(places: Places) -> None:
    session = made(places)
    folder = places.data / "sessions"
    for name in ("notes.jsonl", "20261122-0455-k3f9.json", "20261122-0455-K3F9.jsonl", ".20261122-0455-k3f9.jsonl"):
        (folder / name).write_text("x")
    (folder / "20261122-0455-fold.jsonl").mkdir()
    os.mkfifo(folder / "20261122-0455-fifo.jsonl")
    listed = {info.id: info.damaged for info in list_sessions(places)}
    assert listed == {session: False, "20261122-0455-fold": True, "20261122-0455-fifo": True}
    for call in (read_session, open_session, open_session):
        with pytest.raises(OutputError, match="cannot be read"):
            call(places, "20261122-0455-fifo")
    with pytest.raises(NotFound):
        read_file(places, "20261122-0455-none")


def test_words_are_searched_in_turns_and_names(places: Places) -> None:
    long = Turn("Rivers?", "x " * 100 + "The Elbe flows to Hamburg. " + "y " * 100)
    river = made(places, Answered(0, long), name="water")
    other = made(places, Answered(0, Turn("Hamburg", "A city.")), now=NOW + timedelta(days=1))
    undone = made(places, Answered(0, Turn("ELBE", "")), Rewound(0), now=NOW + timedelta(days=2))
    assert {found.info.id for found in search(places, "hamburg")} == {river, other}
    (found,) = search(places, "ELBE hamburg water")
    assert found.info.id == river
    assert "The Elbe flows to Hamburg." in found.excerpt
    assert found.excerpt.startswith("…")
    assert found.excerpt.endswith("…")
    assert len(found.excerpt) < 170
    assert search(places, "elbe city") == search(places, " ") == ()
    assert undone not in {found.info.id for found in search(places, "elbe")}


def test_a_second_writer_is_refused_and_readers_are_not(places: Places) -> None:
    session = made(places)
    with open_session(places, session) as first:
        first.append(Asked("one"))
        for call in (open_session, remove):
            with pytest.raises(InUse) as caught:
                call(places, session)
            assert caught.value.exit_code == 13
            assert "open in another terminal" in caught.value.message
        assert read_session(places, session).records[-1] == Asked("one")
        first.append(Asked("two"))
    with open_session(places, session) as second:
        assert second.records[-2:] == (Asked("one"), Asked("two"))
    second.close()
    with pytest.raises(ValueError, match="closed"):
        second.append(Asked("three"))


def test_a_new_session_is_locked_from_its_first_record(places: Places) -> None:
    with create(places, NOW) as session:
        session.append(Asked("one"))
        with pytest.raises(InUse):
            open_session(places, session.id)


HOLDER = """
import os, sys, time
from mixchat.store.places import find_places
from mixchat.store.sessions import open_session
session = open_session(find_places(os.environ), sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(places: Places) -> None:
    session = made(places)
    with subprocess.Popen([sys.executable, "-c", HOLDER, session], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InUse):
            open_session(places, session)
        process.send_signal(signal.SIGKILL)
        process.wait()
    open_session(places, session).close()


def test_removing_takes_everything_with_it(places: Places) -> None:
    session, other = made(places, name="mine"), made(places, now=NOW + timedelta(days=1))
    add(places, session, b"garbage")
    with open_session(places, session) as opened:
        opened.append(Asked("more"))
    snapshot_path(places, session, make_folder=True).write_bytes(b"kv")
    snapshot_path(places, other).write_bytes(b"kv")
    leftover = session_path(places, session).with_name(f".{session}.jsonl.12ab.tmp")
    leftover.write_bytes(b"half")
    assert damaged_path(places, session).exists()
    remove(places, "mine")
    names = {path.name for path in (places.data / "sessions").iterdir()}
    assert names == {f"{other}.jsonl", f".{other}.lock"}
    assert not snapshot_path(places, session).exists()
    assert snapshot_path(places, other).exists()
    with pytest.raises(NotFound):
        remove(places, "mine")


@pytest.mark.parametrize("suffix", [".kv", ".jsonl"])
def test_what_cannot_be_removed_is_told(places: Places, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    session = made(places)

    unlink = Path.unlink

    def refused(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == suffix:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(OutputError, match="cannot be removed"):
        remove(places, session)
    monkeypatch.undo()
    assert read_file(places, session).records == talk(2)


def test_a_chat_that_is_not_kept_leaves_no_byte(places: Places, tmp_path: Path) -> None:
    with Unsaved() as session:
        session.append(Asked("secret"), Named("x"), sync=False)
        assert (session.id, session.records, session.notices) == ("", (), ())
    assert list(tmp_path.iterdir()) == []
    both: tuple[Session | Unsaved, ...] = (create(places, NOW), session)
    assert {name for name in dir(both[0]) if not name.startswith("_")} == {
        name for name in dir(both[1]) if not name.startswith("_")
    }


def failing(monkeypatch: pytest.MonkeyPatch, function: str, nth: int, code: int) -> None:
    """Let the nth call of a function of os fail; `half` writes half of the data before."""
    real: Callable[..., object] = getattr(os, function)
    calls = iter(range(1, 1000))

    def call(*args: object, **kwargs: object) -> object:
        if next(calls) != nth:
            return real(*args, **kwargs)
        if code:
            raise OSError(code, os.strerror(code))
        descriptor, data = args
        assert isinstance(data, bytes)
        return real(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, function, call)


def tried(session: Session, record: Record) -> bool:
    """Whether it could be appended."""
    try:
        session.append(record)
    except OutputError as error:
        return not error.hint
    return True


STEPS = (Asked("one"), Answered(0, turn(0, 50)), Rewound(0), Answered(0, turn(1)))


@pytest.mark.parametrize("nth", range(1, 7))
@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("write", 0),
        ("fsync", errno.EIO),
        ("fsync", errno.ENOSPC),
        ("open", errno.EACCES),
    ],
)
def test_a_failing_step_keeps_the_old_content_and_the_next_may_succeed(
    places: Places, monkeypatch: pytest.MonkeyPatch, function: str, code: int, nth: int
) -> None:
    kept: list[Record] = []
    failing(monkeypatch, function, nth, code)
    with create(places, NOW) as session:
        for step in STEPS:
            for _attempt in range(2):
                if tried(session, step):
                    kept.append(step)
                    break
                if kept:
                    assert read_file(places, session.id).records == tuple(kept)
                else:
                    assert session_ids(places) == ()
    monkeypatch.undo()
    read = read_file(places, session.id)
    assert (read.records, read.damage, read.mended) == (STEPS, (), None)


@pytest.mark.parametrize("first", [True, False])
def test_half_a_write_that_cannot_be_taken_back_is_cut_off_by_the_next(
    places: Places, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    with create(places, NOW) as session:
        if not first:
            session.append(Asked("one"))
        failing(monkeypatch, "write", 1, 0)
        failing(monkeypatch, "ftruncate", 1, errno.EIO)
        monkeypatch.setattr(Path, "unlink", lambda *_args, **_options: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        with pytest.raises(OutputError, match=r"only \d+ of \d+ bytes"):
            session.append(Asked("two"))
        monkeypatch.undo()
        session.append(Asked("two"))
    read = read_file(places, session.id)
    assert (read.records[-1], read.damage, read.mended) == (Asked("two"), (), None)
    assert len(read.records) == (1 if first else 2)


def test_a_file_that_was_removed_while_it_was_open_is_told(places: Places) -> None:
    with create(places, NOW) as session:
        session.append(Asked("one"))
        session_path(places, session.id).unlink()
        with pytest.raises(OutputError, match="removed while it was open"):
            session.append(Asked("two"))


def test_a_kept_chat_survives_a_replay(places: Places) -> None:
    session = made(places, *talk(3))
    assert replay(read_file(places, session).records) == replay(talk(3))
