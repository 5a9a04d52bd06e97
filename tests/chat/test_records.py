"""Records as JSON: there and back, strict about what is known, patient with what is newer."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.inputs import without_surrogates
from mixchat.chat.journal import (
    Answered,
    Asked,
    Dialogue,
    Forked,
    ModelChosen,
    Named,
    Record,
    Rewound,
    SystemSet,
    ValueSet,
    WentBack,
    Windowed,
    apply,
    replay,
)
from mixchat.chat.messages import Turn
from mixchat.chat.records import LOST, MOST_TOKENS, Reading, from_object, missing_before, to_object

TURN = Turn("Hi", "Hello", interrupted=True, thinking="hm", tokens=(1, 2), vocabulary="v")
NUMBERS = st.integers(-(2**31) + 1, 2**31 - 1)
TURNS = st.builds(
    Turn,
    st.text(),
    st.text(),
    st.booleans(),
    st.text(),
    st.lists(st.integers(0, 2**31 - 1)).map(tuple),
    st.text(),
)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(ModelChosen, st.text()),
    st.builds(SystemSet, st.text()),
    st.builds(ValueSet, st.text(), st.text()),
    st.builds(Asked, st.text()),
    st.builds(Answered, NUMBERS, TURNS),
    st.builds(Rewound, NUMBERS),
    st.builds(Windowed, NUMBERS, st.text()),
    st.builds(Forked, st.text()),
    st.builds(WentBack, st.text()),
    st.builds(Named, st.text()),
)
JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["v", "kind", "turn"]), inner),
)


def changed(record: Record, **values: object) -> dict[str, object]:
    return {**to_object(record), **values}


def turn_object(**values: object) -> dict[str, object]:
    item = to_object(Answered(0, TURN))
    turn = item["turn"]
    assert isinstance(turn, dict)
    return {**item, "turn": {**turn, **values}}


def test_the_form_of_a_record() -> None:
    assert to_object(Windowed(2, "so far")) == {"v": 1, "kind": "windowed", "left_out": 2, "summary": "so far"}
    assert to_object(Answered(3, TURN)) == {
        "v": 1,
        "kind": "answered",
        "after": 3,
        "turn": {
            "user": "Hi",
            "assistant": "Hello",
            "interrupted": True,
            "thinking": "hm",
            "tokens": [1, 2],
            "vocabulary": "v",
        },
    }


@given(RECORDS)
def test_every_record_comes_back_through_json(record: Record) -> None:
    assert from_object(json.loads(json.dumps(to_object(record)))) == Reading(record)


@given(JSON)
def test_nothing_else_is_an_error(item: object) -> None:
    reading = from_object(item)
    assert reading.record is None or to_object(reading.record)["v"] == 1


def test_half_a_character_is_replaced_both_ways() -> None:
    half = replace(TURN, user="a\ud800b", thinking="\udfff")
    item = to_object(Answered(0, half))
    assert json.dumps(item, ensure_ascii=False).encode()
    assert from_object(item).record == Answered(0, replace(TURN, user="a\ufffdb", thinking="\ufffd"))
    assert from_object({"v": 1, "kind": "asked", "text": "\ud800"}).record == Asked(without_surrogates("\ud800"))


@pytest.mark.parametrize("tokens", [(1, -1), (2**31,), (0,) * (MOST_TOKENS + 1)])
def test_tokens_that_cannot_be_read_again_are_not_kept(tokens: tuple[int, ...]) -> None:
    item = to_object(Answered(0, replace(TURN, tokens=tokens)))
    assert from_object(item).record == Answered(0, replace(TURN, tokens=()))


@pytest.mark.parametrize(
    ("item", "reading"),
    [
        (changed(Asked("a"), v=2), Reading(None, newer=True)),
        (changed(Asked("a"), v=2, text=1), Reading(None, newer=True)),
        (changed(Asked("a"), kind="pinned"), Reading(None, newer=True)),
        (changed(Asked("a"), picture=1), Reading(Asked("a"), newer=True)),
        (turn_object(picture=None), Reading(Answered(0, TURN), newer=True)),
    ],
)
def test_what_a_newer_version_wrote_is_told(item: object, reading: Reading) -> None:
    assert from_object(item) == reading


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        "asked",
        {},
        {"kind": "asked", "text": "a"},
        {"v": 1, "text": "a"},
        {"v": 1, "kind": "asked"},
        {"v": "1", "kind": "asked", "text": "a"},
        changed(Asked("a"), v=0),
        changed(Asked("a"), v=0, kind="pinned"),
        changed(Asked("a"), text=None),
        changed(Rewound(1), turns=True),
        changed(Rewound(1), turns=1.0),
        changed(Rewound(1), turns=2**31),
        changed(Answered(0, TURN), turn=None),
        turn_object(interrupted=1),
        turn_object(user=None),
        turn_object(tokens=None),
        turn_object(tokens=[True]),
        turn_object(tokens=[-1]),
        turn_object(tokens=[0] * (MOST_TOKENS + 1)),
    ],
)
def test_what_is_no_record_is_none(item: object) -> None:
    assert from_object(item) == Reading(None)


def turns(dialogue: Dialogue, record: Record) -> Iterator[str]:
    for each in (*missing_before(record, dialogue), record):
        dialogue = apply(dialogue, each)
    for turn in dialogue.transcript.turns:
        yield "?" if turn == LOST else turn.user


def test_lost_turns_keep_the_numbers_of_the_others() -> None:
    one = replay([Answered(0, Turn("a", "1"))])
    assert list(turns(one, Answered(3, Turn("d", "4")))) == ["a", "?", "?", "d"]
    assert list(turns(one, Answered(0, Turn("b", "2")))) == ["b"]
    assert list(turns(one, Rewound(2))) == ["a", "?"]
    assert list(turns(one, Windowed(2))) == ["a", "?"]
    assert list(turns(one, Forked("x"))) == ["a"]
    assert len(list(missing_before(Rewound(2**31 - 1), one))) == 10_000
    assert replay([Answered(0, LOST)]).transcript.answered == ()
