from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.ui.experts_lines import Run, lines_left_out, lines_of, marks_in, visible_token

TOKENS = st.lists(st.text(st.sampled_from("ab \n\t日é\u0301\u200d\x1b\x00\u202e\ud800😀"), max_size=5), max_size=12)


def drawn(tokens: tuple[str, ...], width: int = 80, *, ascii_only: bool = False) -> list[str]:
    return ["".join(run.text for run in line) for line in lines_of(tokens, width, ascii_only)]


def test_runs_say_where_each_token_begins() -> None:
    assert list(lines_of(("def", " f", "():", "\n", "  ", "x"), 80)) == [
        (
            Run(0, True, 0, 3, "def"),
            Run(1, True, 3, 2, " f", lead=1),
            Run(2, True, 5, 3, "():"),
            Run(3, True, 8, 1, "⏎"),
        ),
        (Run(4, True, 0, 2, "  "), Run(5, True, 2, 1, "x")),
    ]


def test_a_line_breaks_before_a_token_that_does_not_fit() -> None:
    assert drawn(("four", " five", " six"), 9) == ["four five", " six"]


def test_a_token_wider_than_a_line_breaks_inside_and_begins_once() -> None:
    lines = list(lines_of(("ab", "x" * 10), 4))
    assert [["".join(run.text for run in line), line[-1].starts] for line in lines] == [
        ["abxx", True],
        ["xxxx", False],
        ["xxxx", False],
    ]


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    (line,) = lines_of(("日本", "e\u0301", "x"), 80)
    assert [(run.column, run.width) for run in line] == [(0, 4), (4, 1), (5, 1)]
    assert drawn(("日本語",), 5) == ["日本", "語"]


def test_what_cannot_be_seen_is_marked() -> None:
    assert drawn(("", "\u0301", "a\tb", "\n\n")) == ["∅◌\u0301a    b⏎", "⏎"]
    assert drawn(("", "a\tb", "\n"), ascii_only=True) == ["_a    b$"]
    assert marks_in(("", "\n")) == ("⏎ end of line", "∅ token without text")
    assert marks_in(("", "\n"), ascii_only=True) == ("$ end of line", "_ token without text")
    assert marks_in(("a",)) == ()


def test_ascii_shows_numbers_of_other_characters() -> None:
    assert drawn(("é", "日"), ascii_only=True) == [r"\xe9\u65e5"]


@pytest.mark.parametrize(("token", "shown"), [("\x1b[2J", "␛[2J"), ("\u202e", "<U+202E>"), ("\ud800", "<U+D800>")])
def test_nothing_acts_on_a_terminal(token: str, shown: str) -> None:
    assert drawn((token,)) == [shown]
    assert visible_token(token) == shown


@pytest.mark.parametrize(
    ("token", "lead"),
    [
        ("x", 0),
        ("  x y", 2),
        ("\tx", 4),
        ("  ", 0),
        (" \n", 1),
        ("\u3000x", 2),
        (" \u0301", 0),
        ("  \u0301x", 1),
        ("", 0),
    ],
)
def test_blanks_at_the_front_are_counted(token: str, lead: int) -> None:
    ((run,),) = lines_of((token,), 80)
    assert (run.lead, run.seen) == (lead, lead)


def test_blanks_that_a_line_ends_with_are_no_front() -> None:
    first, second = list(lines_of(("abc", "  " + "x" * 9), 5))[:2]
    assert [(run.column, run.lead, run.starts) for run in first] == [(0, 0, True), (3, 0, True)]
    assert [(run.column, run.lead, run.starts) for run in second] == [(0, 0, False)]


@pytest.mark.parametrize(("count", "words"), [(1, "... and 1 more line"), (2, "... and 2 more lines")])
def test_what_is_left_out_is_said(count: int, words: str) -> None:
    assert lines_left_out(count) == words


def test_no_text_has_no_lines() -> None:
    assert drawn(()) == []


@given(TOKENS, st.integers(1, 12), st.booleans())
def test_every_token_begins_once_and_no_line_is_too_wide(tokens: list[str], width: int, ascii_only: bool) -> None:
    lines = list(lines_of(tokens, width, ascii_only))
    runs = [run for line in lines for run in line]
    assert [run.token for run in runs if run.starts] == list(range(len(tokens)))
    assert "".join(run.text for run in runs) == "".join(drawn(tuple(tokens), 10**6, ascii_only=ascii_only))
    for line in lines:
        assert line[0].column == 0
        assert all(right.column == left.column + left.width for left, right in pairwise(line))
        assert sum(run.width for run in line) <= max(width, 2)
        assert all(run.column <= run.seen < run.column + max(run.width, 1) for run in line)
