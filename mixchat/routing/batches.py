"""Knows how an expert's share varies along a text, in constant memory; refuses to know layers and comparisons.

Neighbouring tokens are routed alike and the experts of one token exclude each other, so a share's error cannot come
from the number of tokens. It comes from batches of consecutive tokens (batch means): when there are too many of them,
neighbours are merged, so that batches grow with the text and see what repeats over longer and longer stretches.
"""

import math
from collections import Counter
from collections.abc import Sequence
from operator import add

BATCH_TOKENS = 128
MOST_BATCHES = 32
ENOUGH_BATCHES = 16

Counts = tuple[int, ...]


class Batches:
    """How often each of `n_experts` was assigned in batches of consecutive tokens, `used` experts per token.

    A batch holds 128 tokens at first; whenever 32 are full, neighbours are merged. So there are 16 to 31 batches of
    one size in a text of 2048 tokens and more, and one shorter batch at its end.
    """

    __slots__ = ("_filled", "_full", "_n", "_open", "_size")

    def __init__(self, n_experts: int, used: int) -> None:
        self._n = n_experts
        self._size = BATCH_TOKENS * used
        self._full: list[list[int]] = []
        self._open = [0] * n_experts
        self._filled = 0

    def add(self, experts: Sequence[int]) -> None:
        """Count the experts of the next tokens."""
        start = 0
        while start < len(experts):
            part = experts[start : start + self._size - self._filled]
            for expert, count in Counter(part).items():
                self._open[expert] += count
            self._filled += len(part)
            start += len(part)
            if self._filled == self._size:
                self._close()

    def counts(self) -> tuple[Counts, ...]:
        """The assignments per expert of every batch, in the order of the text."""
        last = [self._open] if self._filled else []
        return tuple(tuple(batch) for batch in self._full + last)

    def _close(self) -> None:
        self._full.append(self._open)
        self._open = [0] * self._n
        self._filled = 0
        if len(self._full) == MOST_BATCHES:
            self._full = [list(map(add, *pair)) for pair in zip(self._full[::2], self._full[1::2], strict=True)]
            self._size *= 2


def totals(batches: Sequence[Counts]) -> Counts:
    """The assignments per expert of all batches together."""
    return tuple(map(sum, zip(*batches, strict=True)))


def deviations(batches: Sequence[Counts]) -> list[list[float]]:
    """For each expert, by how much each batch moves its share away from the mean of the text.

    With c of a batch's m assignments, M in the whole text and the share p: (c - p m) / M * sqrt(B / (B - 1)), for B
    batches; two at least. The sum of the squares is the variance of the share if batches are independent (the ratio
    estimator of cluster samples; Cochran, Sampling Techniques).
    """
    sizes = [sum(batch) for batch in batches]
    whole = sum(sizes)
    scale = math.sqrt(len(sizes) / (len(sizes) - 1)) / whole
    return [_column(column, sizes, sum(column) / whole, scale) for column in zip(*batches, strict=True)]


def _column(column: Counts, sizes: list[int], share: float, scale: float) -> list[float]:
    return [(count - share * size) * scale for count, size in zip(column, sizes, strict=True)]


def standard_errors(batches: Sequence[Counts]) -> tuple[float, ...] | None:
    """The standard error of each expert's share; None for fewer than 16 batches (1921 tokens)."""
    if len(batches) < ENOUGH_BATCHES:
        return None
    return tuple(math.hypot(*column) for column in deviations(batches))
