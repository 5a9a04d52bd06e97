"""What two texts of tokens begin with alike."""

from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.prefix import common_prefix

TOKENS = st.lists(st.integers(0, 2), max_size=8)


@given(TOKENS, TOKENS)
def test_it_is_the_longest_that_is_equal(one: list[int], other: list[int]) -> None:
    lengths = [size for size in range(9) if size <= min(len(one), len(other)) and one[:size] == other[:size]]
    assert common_prefix(one, tuple(other)) == max(lengths)
