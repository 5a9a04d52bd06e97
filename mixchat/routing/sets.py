"""Knows which sets of experts tokens were given, in bounded memory; refuses to know the order within a set.

A set is a bit mask: bit e stands for expert e.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import accumulate
from operator import or_

MOST_SETS = 4096
MOST_SAMPLED = 2048


class Sets:
    """How often each set of `used` of `n_experts` was chosen in one layer.

    Up to 4096 possible sets (2 of 8: 28) are counted exactly. Where there could be more (8 of 128), every s-th token
    is kept, s doubling so that at most 2048 are held: a share of tokens then has a standard error of at most 1.1
    percentage points, and one set of a text is in the sample or not whatever blocks it came in.
    """

    __slots__ = ("_counted", "_exact", "_sampled", "_seen", "_step")

    def __init__(self, n_experts: int, used: int) -> None:
        self._exact = math.comb(n_experts, used) <= MOST_SETS
        self._counted: Counter[int] = Counter()
        self._sampled: list[int] = []
        self._seen = 0
        self._step = 1

    @property
    def exact(self) -> bool:
        """Whether every token was counted."""
        return self._exact or self._step == 1

    def add(self, masks: Sequence[int]) -> None:
        """Count the sets of the next tokens."""
        if self._exact:
            self._counted.update(masks)
            return
        self._sampled += masks[-self._seen % self._step :: self._step]
        self._seen += len(masks)
        while len(self._sampled) > MOST_SAMPLED:
            self._sampled = self._sampled[::2]
            self._step *= 2

    def within(self, ranking: Sequence[int]) -> tuple[float, ...]:
        """The share of tokens whose experts all are among the first N of `ranking` (all experts), N = 1, 2, ..."""
        rank = {expert: place for place, expert in enumerate(ranking)}
        counted = self._counted if self._exact else Counter(self._sampled)
        needed = [0] * len(ranking)
        for mask, count in counted.items():
            needed[max(rank[expert] for expert in experts_of(mask))] += count
        return tuple(tokens / counted.total() for tokens in accumulate(needed))


def masks_of(experts: Sequence[int], used: int, bits: Sequence[int]) -> list[int]:
    """The set of every token: `experts` holds `used` per token row by row, `bits[e]` is the mask of expert e alone."""
    columns = [map(bits.__getitem__, experts[place::used]) for place in range(used)]
    return list(reduce(lambda left, right: map(or_, left, right), columns))


def experts_of(mask: int) -> Iterator[int]:
    """The experts of a set, the lowest number first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
