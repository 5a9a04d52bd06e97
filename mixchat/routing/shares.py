"""Knows how evenly a layer's tokens are shared among its experts; refuses to know which tokens they were."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mixchat.routing.batches import Counts, standard_errors, totals


@dataclass(frozen=True, slots=True)
class Shares:
    """How the experts of one layer share the work; every tuple has one number per expert, shares add up to 1.

    - `tokens`: how many tokens the layer routed
    - `assignments`: the share of all choices; `errors`: its standard errors, from batches of consecutive tokens
      (batches.py), None for a text too short for that
    - `first`: the share of first choices
    - `entropy`: of `assignments`, divided by log(n): 1 when all are equal, 0 when one has everything
    - `ratio`: the largest of `assignments` divided by the smallest; None (infinite) when an expert was never used
    - `unused`: how many experts were never used
    """

    tokens: int
    assignments: tuple[float, ...]
    errors: tuple[float, ...] | None
    first: tuple[float, ...]
    entropy: float
    ratio: float | None
    unused: int


def shares_of(batches: Sequence[Counts], firsts: Sequence[int]) -> Shares:
    """The shares that these counts mean; both have one count per expert, and at least one token."""
    counts = totals(batches)
    return Shares(
        tokens=sum(firsts),
        assignments=normalised(counts),
        errors=standard_errors(batches),
        first=normalised(firsts),
        entropy=evenness(counts),
        ratio=max(counts) / min(counts) if min(counts) else None,
        unused=counts.count(0),
    )


def normalised(counts: Sequence[int]) -> tuple[float, ...]:
    """Each count's share of their sum, which is not 0."""
    whole = sum(counts)
    return tuple(count / whole for count in counts)


def evenness(counts: Sequence[int]) -> float:
    """The entropy of the shares divided by its largest value, log(n) (Pielou's evenness); 1 for a single expert."""
    if len(counts) == 1:
        return 1.0
    entropy = math.fsum(-share * math.log(share) for share in normalised(counts) if share)
    return min(entropy / math.log(len(counts)), 1.0)


def total_variation(left: Sequence[float], right: Sequence[float]) -> float:
    """The part of one distribution that lies elsewhere in the other: half the sum of |p - q|, 0 to 1."""
    return math.fsum(abs(p - q) for p, q in zip(left, right, strict=True)) / 2
