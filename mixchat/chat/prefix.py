"""What two texts of tokens begin with alike."""

from collections.abc import Sequence


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens are the same from the first one on."""
    least = min(len(one), len(other))
    return next((index for index in range(least) if one[index] != other[index]), least)
