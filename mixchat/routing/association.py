"""Knows how much a token's class decides about its first expert; refuses to know how classes are told apart.

The errors here take tokens as independent of their neighbours. They are not quite, so a value close to its chance
level says nothing; one several times as large does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mixchat.routing.batches import Counts
from mixchat.routing.chance import chance_bound, chance_variation
from mixchat.routing.classes import TokenClass
from mixchat.routing.shares import normalised, total_variation


@dataclass(frozen=True, slots=True)
class ClassShares:
    """Where one layer sends the tokens of one class.

    - `tokens`: how many there were; `first`: the share of first choices per expert
    - `distance`: the total variation distance between these shares and those of the layer's other tokens: this part
      of them goes elsewhere; None when there are no others
    - `chance`: the distance to expect if the class did not matter
    """

    kind: TokenClass
    tokens: int
    first: tuple[float, ...]
    distance: float | None
    chance: float | None


@dataclass(frozen=True, slots=True)
class Association:
    """How much classes decide about first experts: Cramér's V without its bias, 0 (nothing) to 1 (everything).

    `chance` is what 95 of 100 tables stay under whose classes decide nothing; `tokens` is the size of the table.
    """

    v: float
    chance: float
    tokens: int


@dataclass(frozen=True, slots=True)
class ByClass:
    """The classes of one layer's tokens, in the order of `TokenClass`, those that occur.

    `association` is None where nothing can be said: without classes, with one class only or one expert only.
    """

    classes: tuple[ClassShares, ...]
    association: Association | None


def by_class(table: Mapping[TokenClass, Counts]) -> ByClass:
    """What a table of first choices per class means; every class in it has a token."""
    whole = tuple(map(sum, zip(*table.values(), strict=True)))
    classes = (_class_shares(kind, table[kind], whole) for kind in TokenClass if kind in table)
    return ByClass(tuple(classes), association_of(list(table.values())))


def _class_shares(kind: TokenClass, counts: Counts, whole: Counts) -> ClassShares:
    others = tuple(all_of - own for all_of, own in zip(whole, counts, strict=True))
    own, rest = sum(counts), sum(others)
    first = normalised(counts)
    if not rest:
        return ClassShares(kind, own, first, None, None)
    distance = total_variation(first, normalised(others))
    return ClassShares(kind, own, first, distance, chance_variation(normalised(whole), own, rest))


def association_of(table: Sequence[Counts]) -> Association | None:
    """Cramér's V of a table of counts, bias-corrected; None if fewer than two rows or columns have any.

    With phi2 = chi-squared / N and r rows, c columns: V = sqrt(max(0, phi2 - (r-1)(c-1)/(N-1)) / min(r' - 1, c' - 1)),
    r' = r - (r-1)^2/(N-1), c' alike (Bergsma 2013, doi:10.1016/j.jkss.2012.10.002). `chance` is the same V at the
    95 % quantile of chi-squared with (r-1)(c-1) degrees of freedom.
    """
    rows = [row for row in map(sum, table) if row]
    columns = [column for column in map(sum, zip(*table, strict=True)) if column]
    n, freedom = sum(rows), (len(rows) - 1) * (len(columns) - 1)
    smallest = min(_corrected(len(rows), n), _corrected(len(columns), n)) - 1
    if not freedom or smallest <= 0:
        return None
    surprise = chance_bound(freedom, math.sqrt(2 * freedom))
    return Association(
        v=_v(_chi_squared(table, n) / n - freedom / (n - 1), smallest),
        chance=_v(surprise / n - freedom / (n - 1), smallest),
        tokens=n,
    )


def _v(phi2: float, smallest: float) -> float:
    return min(math.sqrt(max(phi2, 0.0) / smallest), 1.0)


def _corrected(size: int, n: int) -> float:
    return size - (size - 1) ** 2 / (n - 1) if n > 1 else 0.0


def _chi_squared(table: Sequence[Counts], n: int) -> float:
    """N (sum of O^2 / (row x column) - 1), which is the sum of (O - E)^2 / E."""
    columns = list(map(sum, zip(*table, strict=True)))
    terms = (
        count * count / (row * column)
        for row, counts in zip(map(sum, table), table, strict=True)
        for count, column in zip(counts, columns, strict=True)
        if count
    )
    return n * (math.fsum(terms) - 1)
