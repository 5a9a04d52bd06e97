"""A writer is killed at random moments: what was acknowledged is there, and the session goes on."""

import os
import random
import select
import signal
import time
import warnings
from dataclasses import dataclass, field

import pytest

from mixchat.chat.journal import Answered, replay
from mixchat.chat.messages import Turn
from mixchat.store.places import Places
from mixchat.store.session_file import damaged_path, read_file
from mixchat.store.sessions import create, open_session
from tests.store.session_samples import NOW, made

ROUNDS_OF_ONE = 10
OPENED = b"open"
SIZES = (10, 1000, 100_000, 2_000_000)


@dataclass(slots=True)
class Tally:
    """What the kills hit."""

    kills: int = 0
    acknowledged: int = 0
    torn: int = 0
    unacknowledged: int = 0
    slowest: float = field(default=0.0)


def said(number: int) -> Turn:
    """A turn that tells whether it is whole; some are large enough to be killed in the middle of their write."""
    size = SIZES[random.Random(number).randrange(len(SIZES))]
    return Turn(f"q{number}", "x" * size + f"a{number}")


def write_for_ever(places: Places, session: str, acknowledge: int) -> None:
    """Append turns, and tell each when it is safe."""
    with open_session(places, session) as opened:
        os.write(acknowledge, OPENED)
        number = len(replay(opened.records).transcript.turns)
        while True:
            opened.append(Answered(number, said(number)))
            os.write(acknowledge, number.to_bytes(4, "little"))
            number += 1


def killed_writer(places: Places, session: str, dice: random.Random) -> list[int]:
    """Kill a process that writes, and return what it acknowledged; one in five is killed while it opens the session."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os.close(reader)
        try:
            write_for_ever(places, session, writer)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as told:
        if early := dice.random() < 0.2:
            time.sleep(dice.uniform(0, 0.02))
        else:
            assert select.select([told], [], [], 60)[0]
            assert told.read(len(OPENED)) == OPENED
            time.sleep(dice.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        _pid, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        numbers = told.readall()
    numbers = numbers.removeprefix(OPENED) if early else numbers
    return [int.from_bytes(numbers[at : at + 4], "little") for at in range(0, len(numbers), 4)]


def kill_often(places: Places, kills: int, dice: random.Random) -> Tally:
    tally = Tally()
    session, turns = "", 0
    for kill in range(kills):
        if kill % ROUNDS_OF_ONE == 0:
            session, turns = made(places, Answered(0, said(0))), 1
        acknowledged = killed_writer(places, session, dice)
        assert acknowledged == list(range(turns, turns + len(acknowledged)))
        begun = time.monotonic()
        read = read_file(places, session)
        tally.slowest = max(tally.slowest, time.monotonic() - begun)
        there = replay(read.records).transcript.turns
        turns += len(acknowledged)
        # One more may be whole on disk, killed before it was told.
        assert len(there) in {turns, turns + 1}
        assert there == tuple(said(number) for number in range(len(there)))
        tally.kills += 1
        tally.acknowledged += len(acknowledged)
        tally.torn += bool(read.damage)
        tally.unacknowledged += len(there) - turns
        turns = len(there)
        if kill % 3 == 0:
            with open_session(places, session) as opened:
                opened.append(Answered(turns, said(turns)))
            turns += 1
            again = read_file(places, session)
            assert (again.damage, len(replay(again.records).transcript.turns)) == ((), turns)
            assert damaged_path(places, session).exists() >= bool(read.damage)
    return tally


def test_thirty_kills_lose_nothing_that_was_acknowledged(places: Places) -> None:
    tally = kill_often(places, 30, random.Random())
    assert tally.acknowledged > 0


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_thousand_kills_lose_nothing_that_was_acknowledged(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = kill_often(places, 1000, random.Random())
    with capsys.disabled():
        print(f"\n{tally}")  # noqa: T201 - the figures of a run by hand
    assert tally.acknowledged > 1000
    assert tally.torn > 0


def test_two_writers_at_once_take_turns(places: Places) -> None:
    """Five processes append to one session as often as they get it; every record is there once and whole."""
    session = made(places, Answered(0, said(0)))
    children = []
    for worker in range(5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            os._exit(_append_six(places, session, worker))
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * 5
    read = read_file(places, session)
    names = [record.turn.user for record in read.records if isinstance(record, Answered)]
    assert sorted(names) == sorted(["q0", *(f"{worker}/{step}" for worker in range(5) for step in range(6))])
    for worker in range(5):
        assert [name for name in names if name.startswith(f"{worker}/")] == [f"{worker}/{step}" for step in range(6)]
    assert (read.damage, read.mended) == ((), None)


def _append_six(places: Places, session: str, worker: int) -> int:
    from mixchat.errors import InUse

    end = time.monotonic() + 60
    step = 0
    while step < 6 and time.monotonic() < end:
        try:
            with open_session(places, session) as opened:
                opened.append(Answered(10**6, Turn(f"{worker}/{step}", "x" * 5000)))
                step += 1
        except InUse:
            time.sleep(random.uniform(0, 0.005))
    return 0 if step == 6 else 1


def test_a_kill_between_making_the_file_and_its_first_line(places: Places) -> None:
    with create(places, NOW) as session:
        session.append(Answered(0, said(0)))
    path = places.data / "sessions" / f"{session.id}.jsonl"
    path.write_bytes(b"")
    with open_session(places, session.id) as opened:
        opened.append(Answered(0, said(1)))
    assert read_file(places, session.id).records == (Answered(0, said(1)),)
