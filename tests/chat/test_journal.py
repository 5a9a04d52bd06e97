"""The reducer of a chat: every record, and any list of them."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.journal import (
    Answered,
    Asked,
    Checkpoint,
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
from mixchat.chat.mistral import render
from mixchat.chat.transcript import Transcript

A, B, C, D = (Turn(name, name.upper()) for name in "abcd")
THREE = (Answered(0, A), Answered(1, B), Answered(2, C))
NAMES = st.sampled_from(["", "x", "y"])
COUNTS = st.integers(-3, 8)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(ModelChosen, NAMES),
    st.builds(SystemSet, NAMES),
    st.builds(ValueSet, NAMES, NAMES),
    st.builds(Asked, NAMES),
    st.builds(Answered, COUNTS, st.builds(Turn, st.just("u"), st.sampled_from(["", " ", "a"]), st.booleans())),
    st.builds(Rewound, COUNTS),
    st.builds(Windowed, COUNTS, NAMES),
    st.builds(Forked, NAMES),
    st.builds(WentBack, NAMES),
    st.builds(Named, NAMES),
)


def said(*records: Record) -> str:
    return "".join(turn.user for turn in replay(records).transcript.turns)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ((), ""),
        (THREE, "abc"),
        ((*THREE, Answered(2, D)), "abd"),
        ((*THREE, Answered(0, D)), "d"),
        ((*THREE, Answered(9, D)), "abcd"),
        ((*THREE, Answered(-1, D)), "d"),
        ((*THREE, Rewound(2)), "ab"),
        ((*THREE, Rewound(0)), ""),
        ((*THREE, Rewound(9)), "abc"),
        ((*THREE, Rewound(-2)), ""),
        ((*THREE, Rewound(1), Answered(1, D)), "ad"),
        ((Answered(0, A), Forked("x"), Answered(1, B), WentBack("x")), "a"),
        ((Answered(0, A), Forked("x"), Answered(1, B), WentBack("y")), "ab"),
        ((Answered(0, A), Forked("x"), Rewound(0), WentBack("x"), Answered(1, C)), "ac"),
    ],
)
def test_which_turns_count(records: tuple[Record, ...], expected: str) -> None:
    assert said(*records) == expected


def test_what_else_is_remembered() -> None:
    dialogue = replay(
        [ModelChosen("demo"), SystemSet("Be brief."), ValueSet("seed", "1"), ValueSet("top_k", "2"), Named("mine")]
    )
    assert dialogue == Dialogue(Transcript("Be brief."), "demo", {"seed": "1", "top_k": "2"}, (), "mine")
    again = replay([ModelChosen("other"), ValueSet("seed", ""), ValueSet("top_k", "3"), SystemSet("")], dialogue)
    assert again == Dialogue(Transcript(), "other", {"top_k": "3"}, (), "mine")


def test_what_was_asked_last_is_a_draft_until_something_becomes_of_it() -> None:
    asked = replay([*THREE, Asked("d")])
    assert (asked.draft, len(asked.transcript.turns)) == ("d", 3)
    assert apply(asked, Answered(3, D)).draft == ""
    assert apply(asked, Rewound(3)).draft == ""
    assert apply(asked, SystemSet("s")).draft == "d"
    assert replay([Forked("x"), Asked("d"), WentBack("x")]).draft == ""
    assert replay([Forked("x"), Asked("d"), WentBack("y")]).draft == "d"


def test_the_window_leaves_the_oldest_turns_out_of_the_prompt() -> None:
    windowed = replay([SystemSet("s"), *THREE, Windowed(2, "a and b")]).transcript
    assert windowed.turns == (A, B, C)
    assert windowed.answered == (C,)
    assert [message.text for message in windowed.messages("d")] == [
        "s\n\nSummary of the conversation before this:\na and b",
        "c",
        "C",
        "d",
    ]
    assert replay([*THREE, Windowed(9)]).transcript.left_out == 3
    assert replay([*THREE, Windowed(-1)]).transcript.left_out == 0


def test_a_rewind_into_the_window_opens_it_and_one_behind_it_does_not() -> None:
    windowed = replay([*THREE, Windowed(2, "a and b")])
    behind = apply(windowed, Rewound(2)).transcript
    assert (behind.left_out, behind.summary) == (2, "a and b")
    into = apply(windowed, Rewound(1)).transcript
    assert (into.left_out, into.summary, into.answered) == (0, "", (A,))
    edited = apply(windowed, Answered(1, D)).transcript
    assert (edited.left_out, edited.answered) == (0, (A, D))


def test_going_back_restores_the_window_and_the_system_text_but_not_the_model() -> None:
    before = replay([ModelChosen("m"), SystemSet("s"), *THREE, Windowed(1)])
    later = replay([Forked("x"), SystemSet("t"), Windowed(3), Rewound(0), ModelChosen("n"), WentBack("x")], before)
    assert later.transcript == before.transcript
    assert later.model == "n"


def test_checkpoints_stay_and_can_be_gone_to_and_fro() -> None:
    forked = replay([Answered(0, A), Forked("x"), Answered(1, B), Forked("y"), Answered(2, C)])
    assert [checkpoint.name for checkpoint in forked.checkpoints] == ["x", "y"]
    back = apply(forked, WentBack("x"))
    assert back.checkpoints == (Checkpoint("x", Transcript(turns=(A,))), Checkpoint("y", Transcript(turns=(A, B))))
    assert apply(back, WentBack("y")).transcript.turns == (A, B)
    assert apply(back, WentBack("z")) is back
    assert apply(apply(back, Rewound(0)), WentBack("x")).transcript.turns == (A,)
    twice = replay([Forked("x"), Answered(0, A), Forked("x"), Answered(1, B), WentBack("x")])
    assert twice.transcript.turns == (A,)
    assert len(twice.checkpoints) == 2


@given(st.lists(RECORDS, max_size=30), st.integers(0, 30))
def test_any_list_of_records_makes_a_chat(records: list[Record], split: int) -> None:
    dialogue = Dialogue()
    for record in records:
        dialogue = apply(dialogue, record)
        transcript = dialogue.transcript
        assert 0 <= transcript.left_out <= len(transcript.turns)
        assert "" not in dialogue.values.values()
        render(transcript.messages("next"))
    assert dialogue == reduce(apply, records, Dialogue()) == replay(records)
    assert replay(records[split:], replay(records[:split])) == dialogue
