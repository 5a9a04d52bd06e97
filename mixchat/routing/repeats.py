"""Knows how often consecutive tokens get the same expert, and how often chance would; refuses to know texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often a token's experts are those of the token before, in one layer (Table 5 of arXiv 2401.04088).

    - `pairs`: how many pairs of consecutive tokens were seen; without any, the shares and errors are None
    - `first`: the share of pairs with the same first choice
    - `any`: the share of pairs that have at least one chosen expert in common (first-or-second choice, for 2)
    - `chance_first`, `chance_any`: the same under uniform random routing
    - `error_first`, `error_any`: the standard error of a sample of `pairs` under uniform random routing
    - `preference`: how often the first choice would repeat if the router drew it with this layer's own shares and
      looked at no text at all: an expert that is preferred is also repeated
    """

    pairs: int
    first: float | None
    any: float | None
    chance_first: float
    chance_any: float
    error_first: float | None
    error_any: float | None
    preference: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many pairs of consecutive tokens there were, and in how many the first choice, or any, was the same."""

    pairs: int
    first: int
    any: int


def repeats_of(seen: Pairs, used: int, first_shares: Sequence[float]) -> Repeats:
    """What these pairs mean where a token gets `used` experts; `first_shares` has one share per expert."""
    by_chance = chance_first(len(first_shares)), chance_any(len(first_shares), used)
    return Repeats(
        pairs=seen.pairs,
        first=seen.first / seen.pairs if seen.pairs else None,
        any=seen.any / seen.pairs if seen.pairs else None,
        chance_first=by_chance[0],
        chance_any=by_chance[1],
        error_first=chance_error(by_chance[0], seen.pairs),
        error_any=chance_error(by_chance[1], seen.pairs),
        preference=math.fsum(share * share for share in first_shares),
    )


def chance_first(n_experts: int) -> float:
    """How often uniform random routing repeats the first choice: 1 / n; 12.5 % for 8 experts."""
    return 1 / n_experts


def chance_any(n_experts: int, used: int) -> float:
    """How often two random sets of k of n experts share at least one: 1 - C(n - k, k) / C(n, k); 46.4 % for 2 of 8.

    C(n - k, k) of the C(n, k) possible sets avoid all k experts of the token before.
    """
    return 1 - math.comb(n_experts - used, used) / math.comb(n_experts, used)


def chance_error(share: float, pairs: int) -> float | None:
    """The standard error of a share in `pairs` pairs: sqrt(p (1 - p) / pairs); None without pairs.

    Pairs overlap, yet under uniform random routing what one repeats says nothing about the next.
    """
    return math.sqrt(share * (1 - share) / pairs) if pairs else None
