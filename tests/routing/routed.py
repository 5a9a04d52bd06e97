"""Makes up what routers chose."""

import random
from collections.abc import Iterable, Sequence

from mixchat.routing.choices import Choices
from mixchat.routing.classes import TokenClass
from mixchat.routing.tally import Report, Tally

Rows = Sequence[tuple[int, ...]]


def block(rows: Rows, first: int = 0, layer: int = 0, used: int = 2) -> Choices:
    experts = tuple(expert for row in rows for expert in row)
    return Choices(layer, first, used, experts, (1 / used,) * len(experts))


def report(rows: Rows, n_experts: int = 8, classes: Sequence[TokenClass] | None = None) -> Report:
    used = len(rows[0])
    tally = Tally(n_experts)
    tally.add(block(rows, used=used), classes)
    return tally.report()


def drawn(rng: random.Random, weights: Sequence[float], used: int, tokens: int, stay: float = 0.0) -> Rows:
    """Experts drawn by weight without replacement; a token keeps those of the one before with probability `stay`."""
    row: tuple[int, ...] = ()
    rows = []
    for _ in range(tokens):
        if not row or rng.random() >= stay:
            row = tuple(_row(rng, weights, used))
        rows.append(row)
    return rows


def _row(rng: random.Random, weights: Sequence[float], used: int) -> Iterable[int]:
    keys = [rng.random() ** (1 / weight) for weight in weights]
    return sorted(range(len(weights)), key=keys.__getitem__, reverse=True)[:used]
