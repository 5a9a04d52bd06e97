import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.window import fit
from mixchat.errors import PromptTooLong

TOKENS = st.lists(st.integers(0, 100))


@pytest.mark.parametrize(
    ("turns", "fixed", "room", "left_out"),
    [
        ([], 10, 10, 0),
        ([5, 5], 10, 20, 0),
        ([5, 5], 10, 19, 1),
        ([5, 5], 10, 14, 2),
        ([50, 1], 10, 11, 1),
        ([1, 50], 10, 40, 2),
        ([1, 50], 0, 0, 2),
    ],
)
def test_how_many_turns_are_left_out(turns: list[int], fixed: int, room: int, left_out: int) -> None:
    assert fit(turns, fixed, room) == left_out


@given(TOKENS, st.integers(0, 100), st.integers(0, 1000))
def test_as_few_as_possible_and_the_rest_fits(turns: list[int], fixed: int, spare: int) -> None:
    room = fixed + spare
    left_out = fit(turns, fixed, room)
    assert fixed + sum(turns[left_out:]) <= room
    assert left_out == 0 or fixed + sum(turns[left_out - 1 :]) > room


@given(TOKENS, st.integers(0, 100), st.integers(0, 1000))
def test_more_room_never_leaves_out_more(turns: list[int], fixed: int, spare: int) -> None:
    assert fit(turns, fixed, fixed + spare + 1) <= fit(turns, fixed, fixed + spare)


def test_what_cannot_be_left_out_must_fit() -> None:
    with pytest.raises(PromptTooLong) as caught:
        fit([1, 2], 11, 10)
    assert (caught.value.tokens, caught.value.room) == (11, 10)
    assert "--ctx" in caught.value.hint
