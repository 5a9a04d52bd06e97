"""Knows how much the most used experts of a layer carry, and what a cache of them would bring; refuses to know bytes.

The most used experts are found in the same text whose traffic they then carry, so in a short text they carry a
little more than they would in the next one.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from mixchat.routing.batches import Counts
from mixchat.routing.sets import Sets

LEAST_GAIN = 0.10
ENOUGH_TOKENS = 1024
"""Fewer tokens tell nothing about a cache: in them some experts are used most by chance, or because of one topic."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the N most used experts of one layer carry; the N-th number of a tuple is for N = 1, 2, ..., all.

    - `used`: so many are chosen for each token
    - `ranking`: the experts, the most used first (of equally used ones the lowest number first)
    - `carried`: the share of all choices that fall on the first N
    - `whole`: the share of tokens whose chosen experts all are among the first N
    - `exact`: `whole` comes from every token, not from a sample (sets.py)
    """

    layer: int
    used: int
    ranking: tuple[int, ...]
    carried: tuple[float, ...]
    whole: tuple[float, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """The traffic of all layers beside what it would be if all experts were used alike; N as in `Traffic`.

    - `used`: of each token's, in the layer where they are most
    - `tokens`: so many were routed
    - `carried`, `whole`: the means over the layers, each with its own N most used experts
    - `even_carried`: N / n; `even_whole`: C(N, k) / C(n, k), for k of n experts chosen at random, mean of the layers
    """

    n_experts: int
    used: int
    tokens: int
    carried: tuple[float, ...]
    whole: tuple[float, ...]
    even_carried: tuple[float, ...]
    even_whole: tuple[float, ...]
    layers: tuple[Traffic, ...]


def traffic_of(layer: int, used: int, counts: Counts, sets: Sets) -> Traffic:
    """The traffic that a layer's assignments per expert and sets of `used` experts mean."""
    ranking = tuple(sorted(range(len(counts)), key=lambda expert: (-counts[expert], expert)))
    carried = accumulate(counts[expert] for expert in ranking)
    whole = sum(counts)
    return Traffic(layer, used, ranking, tuple(part / whole for part in carried), sets.within(ranking), sets.exact)


def placement_of(n_experts: int, tokens: int, layers: Sequence[Traffic]) -> Placement:
    """The layers' traffic together; at least one layer, and each routed `tokens` tokens."""
    sizes = range(1, n_experts + 1)
    return Placement(
        n_experts=n_experts,
        used=max(layer.used for layer in layers),
        tokens=tokens,
        carried=_means(layer.carried for layer in layers),
        whole=_means(layer.whole for layer in layers),
        even_carried=tuple(size / n_experts for size in sizes),
        even_whole=_means(_even_whole(n_experts, layer.used) for layer in layers),
        layers=tuple(layers),
    )


def _even_whole(n_experts: int, used: int) -> tuple[float, ...]:
    possible = math.comb(n_experts, used)
    return tuple(math.comb(size, used) / possible for size in range(1, n_experts + 1))


def _means(rows: Iterable[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(math.fsum(column) / len(column) for column in zip(*rows, strict=True))


def usual_cache(placement: Placement) -> int:
    """The number of experts per layer to speak about: a quarter of them, but as many as one token needs at least."""
    return max(placement.used, placement.n_experts // 4, 1)


def placement_sentence(placement: Placement, kept: int | None = None) -> str:
    """One sentence on what the traffic means for a cache of the `kept` most used experts per layer (a quarter of them).

    It gives both shares, of the choices and of the tokens whose experts all are among them, each beside what it would
    be if all experts were used alike. A cache is called of little use when the experts in it carry less than 10
    percentage points more than as many experts would if all were equal; that is what any choice of experts brings.
    Of fewer than 1024 tokens it only says that they are too few.
    """
    size = min(kept or usual_cache(placement), placement.n_experts)
    carried, even = placement.carried[size - 1], placement.even_carried[size - 1]
    if size == placement.n_experts:
        return f"All {size} experts of a layer are kept, and they carry all of the traffic."
    if placement.tokens < ENOUGH_TOKENS:
        few = f"{placement.tokens} token{'s are' if placement.tokens != 1 else ' is'} too few"
        return f"{few} to tell what a cache of the most used experts would spare: that takes {ENOUGH_TOKENS} or more."
    facts = f"{_subject(size)} of {placement.n_experts} experts of a layer {_carry(size)} {_percent(carried)} of the "
    facts += f"traffic ({_percent(even)} if all were equal){_whole(placement, size)}: "
    if carried - even < LEAST_GAIN:
        return facts + f"keeping only {_those(size)} in VRAM would serve hardly more than {_others(size)} would."
    return (
        facts
        + f"keeping {_those(size)} in VRAM would spare {_percent(carried)} of the expert reads from slower memory."
    )


def _subject(size: int) -> str:
    return f"The {size} most used" if size > 1 else "The most used"


def _carry(size: int) -> str:
    return "carry" if size > 1 else "carries"


def _those(size: int) -> str:
    return "those" if size > 1 else "it"


def _others(size: int) -> str:
    return f"any other {size}" if size > 1 else "any other one"


def _whole(placement: Placement, size: int) -> str:
    """A token with one expert is served when that one is: both shares are the same then."""
    if placement.used == 1:
        return ""
    share, even = placement.whole[size - 1], placement.even_whole[size - 1]
    return f", and {_percent(share)} of its tokens need no other ({_percent(even)})"


def _percent(share: float) -> str:
    """Whole percents, with one digit after the point below 10 %."""
    whole = f"{100 * share:.0f}"
    return f"{whole} %" if len(whole) > 1 or not share else f"{100 * share:.1f} %"
