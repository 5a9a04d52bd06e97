"""Damaged sessions: what can be read is read, what cannot is set aside, and nothing vanishes."""

import os
import random
import re
import stat
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixchat.chat.journal import Answered, Asked, Record, Rewound, Windowed, replay
from mixchat.chat.records import LOST, to_object
from mixchat.errors import OutputError
from mixchat.store import session_file
from mixchat.store.places import Places
from mixchat.store.session_file import damaged_path, read_file, session_path
from mixchat.store.session_index import list_sessions
from mixchat.store.session_lines import Damage, Line, line_of, scan
from mixchat.store.sessions import open_session
from tests.store.session_samples import NOW, add, content, made, talk, turn

RECORDS = talk(3)
LAST = Asked("and then?")


def known(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Without the stand-ins of lost turns."""
    return tuple(each for each in records if not (isinstance(each, Answered) and each.turn == LOST))


def damaged(places: Places, data: bytes) -> str:
    session = made(places, *RECORDS)
    session_path(places, session).write_bytes(data)
    return session


def intact(places: Places) -> bytes:
    return content(places, made(places, *RECORDS))


def goes_on(places: Places, session: str) -> None:
    """Appending works, loses nothing that was readable, and what was not is set aside."""
    data = content(places, session)
    before = read_file(places, session)
    with open_session(places, session) as opened:
        assert opened.records == before.records
        assert content(places, session) == data
        opened.append(LAST)
    after = read_file(places, session)
    assert (after.records, after.damage, after.mended) == ((*before.records, LAST), (), None)
    aside = damaged_path(places, session)
    assert aside.exists() == bool(before.damage)
    for each in before.damage:
        assert each.raw in aside.read_bytes()
        assert data[each.offset : each.offset + len(each.raw)] == each.raw
    assert not before.damage or stat.S_IMODE(aside.stat().st_mode) == 0o600
    for path in (session_path(places, session), aside):
        path.unlink(missing_ok=True)


def test_a_file_cut_at_any_byte_gives_every_whole_line(places: Places) -> None:
    data = intact(places)
    session = damaged(places, data)
    for end in range(len(data)):
        session_path(places, session).write_bytes(data[:end])
        read = read_file(places, session)
        # A line is whole without its line end, and the first one is the header.
        lines = sum(end >= match.start() for match in re.finditer(b"\n", data))
        assert read.records == RECORDS[: max(lines - 1, 0)]
        if end % 23 == 0 or data[end - 2 : end + 1].count(b"\n"):
            goes_on(places, session)


@pytest.mark.parametrize("new", [0, 0x0A, 0x22, 0x7D, 0xFF, None])
def test_one_damaged_byte_costs_one_record_at_the_most(places: Places, new: int | None) -> None:
    data = intact(places)
    session = damaged(places, data)
    dice = random.Random(new)
    for place in range(len(data)):
        byte = dice.randrange(256) if new is None else new
        text = data[:place] + bytes([byte]) + data[place + 1 :]
        session_path(places, session).write_bytes(text)
        read = read_file(places, session)
        lost = [each for each in RECORDS if each not in read.records]
        assert len(lost) <= (1 if text != data else 0)
        assert known(read.records) == tuple(each for each in RECORDS if each not in lost)
        assert NOW.replace(second=0) <= read.created <= NOW
        assert bool(read.damage) == bool(read.notices)
        assert read.damage or text in {data, read.mended} or not text.strip()
        if place % 97 == 0:
            goes_on(places, session)


def test_a_damaged_line_end_costs_nothing(places: Places) -> None:
    data = intact(places)
    for place in (match.start() for match in re.finditer(b"\n", data)):
        session = damaged(places, data[:place] + b"}" + data[place + 1 :])
        read = read_file(places, session)
        assert (read.records, [each.raw for each in read.damage]) == (RECORDS, [b"}"])
        goes_on(places, session)


@pytest.mark.parametrize("seed", range(40))
def test_blocks_of_nul_and_garbage(places: Places, seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(intact(places))
    for _block in range(dice.randrange(1, 4)):
        begin = dice.randrange(len(data))
        length = dice.randrange(1, 300)
        data[begin : begin + length] = dice.choice([bytes(length), dice.randbytes(length), b"\n" * length, b"{}\n"])
    session = damaged(places, bytes(data))
    read = read_file(places, session)
    assert [each for each in RECORDS if each in read.records] == list(known(read.records))
    goes_on(places, session)


def test_bytes_that_were_put_between_cost_nothing(places: Places) -> None:
    lines = intact(places).splitlines(keepends=True)
    garbage = [
        b"\0" * 4096,
        b"x\n",
        b"\n\n",
        b"[]\n",
        b'{"sum":"00000000","line":{}}\n',
        b'{"sum":"',
        line_of({"v": 1}),
    ]
    for stuff in garbage:
        for place in range(len(lines) + 1):
            session = damaged(places, b"".join([*lines[:place], stuff, *lines[place:]]))
            assert read_file(places, session).records == RECORDS
            goes_on(places, session)


def test_a_second_header_does_no_harm(places: Places) -> None:
    lines = intact(places).splitlines(keepends=True)
    session = damaged(places, b"".join([lines[0], *lines]))
    read = read_file(places, session)
    assert (read.records, read.damage, read.mended) == (RECORDS, (), None)
    goes_on(places, session)


def test_a_line_that_came_twice_changes_nothing(places: Places) -> None:
    lines = intact(places).splitlines(keepends=True)
    session = damaged(places, b"".join(line * 2 for line in lines))
    assert replay(read_file(places, session).records) == replay(RECORDS)


def test_a_missing_header_is_made_again_from_the_id(places: Places) -> None:
    lines = intact(places).splitlines(keepends=True)
    session = damaged(places, b"x" + b"".join(lines[1:]))
    read = read_file(places, session)
    assert read.created == NOW.replace(second=0)
    goes_on(places, session)
    odd = session_path(places, session).with_name("99999999-9999-aaaa.jsonl")
    odd.write_bytes(b"".join(lines[1:]))
    assert read_file(places, "99999999-9999-aaaa").created.timestamp() == pytest.approx(odd.stat().st_mtime)


def test_a_lost_first_turn_is_no_title(places: Places) -> None:
    session = damaged(places, intact(places).replace(b"Answer 0", b"answer 0"))
    (info,) = (each for each in list_sessions(places) if each.id == session)
    assert (info.title, info.turns) == ("Question 1", 3)


@pytest.mark.parametrize("later", [Answered(3, turn(3)), Rewound(3), Windowed(3, "so far")])
def test_a_lost_turn_keeps_its_number(places: Places, later: Record) -> None:
    lines = b"".join(line_of(to_object(each)) for each in (*RECORDS, later)).splitlines(keepends=True)
    second = RECORDS.index(Answered(1, turn(1)))
    lines[second] = lines[second].replace(b"Answer", b"answer")
    session = damaged(places, b"".join(lines))
    turns = replay(read_file(places, session).records).transcript.turns
    assert turns[:3] == (turn(0), LOST, turn(2))
    goes_on(places, session)


def test_a_mended_session_counts_like_the_damaged_one(places: Places) -> None:
    lines = intact(places).splitlines(keepends=True)
    lines[4] = b"x" * 50 + b"\n"
    session = damaged(places, b"".join(lines))
    before = replay(read_file(places, session).records).transcript
    assert before.turns == (LOST, turn(1), turn(2))
    with open_session(places, session) as opened:
        assert "cannot be read" in opened.notices[0]
        opened.append(Answered(2, turn(9)))
    after = read_file(places, session)
    assert replay(after.records).transcript.turns == (LOST, turn(1), turn(9))
    assert damaged_path(places, session).read_bytes().endswith(b":\n" + b"x" * 50 + b"\n")
    add(places, session, b"half a li")
    with open_session(places, session) as opened:
        opened.append(LAST)
    aside = damaged_path(places, session).read_bytes()
    assert b"x" * 50 in aside
    assert aside.endswith(b"half a li\n")


def test_a_failing_mend_changes_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    data = intact(places) + b"half a li"
    session = damaged(places, data)

    def refused(*_args: object) -> None:
        raise OSError(5, "Input/output error")

    with open_session(places, session) as opened:
        for function in ("fsync", "write"):
            monkeypatch.setattr(os, function, refused)
            with pytest.raises(OutputError):
                opened.append(LAST)
            monkeypatch.undo()
            assert content(places, session) == data
        monkeypatch.setattr(Path, "replace", refused)
        with pytest.raises(OutputError):
            opened.append(LAST)
        monkeypatch.undo()
        assert content(places, session) == data
        opened.append(LAST)
    assert read_file(places, session).records == (*RECORDS, LAST)


NEWER = [
    line_of({"v": 2, "kind": "session", "id": "x", "created": NOW.isoformat()}),
    line_of({"v": 1, "kind": "pinned", "turn": 1}),
    line_of({**to_object(Asked("new")), "picture": "x"}),
    line_of({"v": 7, "anything": []}),
]


@pytest.mark.parametrize("line", NEWER[:3])
def test_what_a_newer_mixchat_wrote_is_read_only(places: Places, line: bytes) -> None:
    data = intact(places) + line + b"half a li"
    session = damaged(places, data)
    with open_session(places, session) as opened:
        assert opened.records[: len(RECORDS)] == RECORDS
        assert "newer mixchat" in opened.notices[-1]
        with pytest.raises(OutputError, match="newer mixchat"):
            opened.append(LAST)
    assert content(places, session) == data
    assert not damaged_path(places, session).exists()


def test_a_session_that_is_too_large_is_read_in_part_and_not_changed(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = damaged(places, intact(places))
    monkeypatch.setattr(session_file, "MOST_BYTES", 400)
    with open_session(places, session) as opened:
        assert 0 < len(opened.records) < len(RECORDS)
        assert "larger than" in opened.notices[-1]
        with pytest.raises(OutputError, match="larger than"):
            opened.append(LAST)


def test_an_empty_file_is_a_session_that_was_never_written(places: Places) -> None:
    session = damaged(places, b"")
    assert list_sessions(places) == ()
    goes_on(places, session)


def test_damage_is_listed(places: Places) -> None:
    damaged(places, intact(places)[:-9])
    assert sorted(info.damaged for info in list_sessions(places)) == [False, True]


@pytest.mark.parametrize("body", [b"[" * 200_000 + b"]" * 200_000, b"{", b"\xff", b"1" * 5000])
def test_a_right_sum_does_not_make_it_json(body: bytes) -> None:
    raw = b'{"sum":"%08x","line":%s}' % (zlib.crc32(body), body)
    assert list(scan(raw)) == [Damage(0, raw)]


def test_a_text_that_looks_like_a_line_is_none() -> None:
    item = {"text": '{"sum":"00000000","line":{}}\n' * 3}
    assert list(scan(line_of(item))) == [Line(0, line_of(item)[:-1], item)]


@given(st.binary(max_size=200) | st.text('{"sum":line}0a\n', max_size=60).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_lines_and_damage_that_cover_them(data: bytes) -> None:
    line = line_of({"v": 1, "kind": "asked", "text": "a"})
    parts = list(scan(data + b"\n" + line))
    assert parts[-1] == Line(len(data) + 1, line[:-1], {"v": 1, "kind": "asked", "text": "a"})
    covered = sum(len(each.raw) for each in parts)
    assert covered == len((data + line).replace(b"\n", b""))
