"""Knows how choices add up, block after block, in memory that does not grow with the text; refuses to know their worth.

Everything counted is a whole number, so the report does not depend on how a text was cut into blocks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import and_, countOf, eq

from mixchat.routing.association import ByClass, by_class
from mixchat.routing.batches import Batches, Counts, totals
from mixchat.routing.choices import Choices
from mixchat.routing.classes import TokenClass
from mixchat.routing.repeats import Pairs, Repeats, repeats_of
from mixchat.routing.sets import Sets, masks_of
from mixchat.routing.shares import Shares, shares_of
from mixchat.routing.traffic import Placement, Traffic, placement_of, traffic_of


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What one layer's router did with all texts, choosing `used` experts for each token.

    `batches` are the counts that comparisons need (batches.py).
    """

    layer: int
    used: int
    shares: Shares
    repeats: Repeats
    by_class: ByClass
    traffic: Traffic
    batches: tuple[Counts, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What the routers of a model, each over `n_experts`, did; layer by layer in rising order."""

    n_experts: int
    layers: tuple[LayerReport, ...]

    @property
    def used(self) -> int:
        """The experts of a token, in the layer where they are most; 0 without layers."""
        return max((layer.used for layer in self.layers), default=0)

    @property
    def tokens(self) -> int:
        """The tokens that every layer routed; an interrupted trace may have more in some. 0 without layers."""
        return min((layer.shares.tokens for layer in self.layers), default=0)

    @property
    def placement(self) -> Placement | None:
        """The traffic of all layers; None without layers."""
        traffic = [layer.traffic for layer in self.layers]
        return placement_of(self.n_experts, self.tokens, traffic) if traffic else None


class Tally:
    """Counts the choices of one or several texts ("pieces") of a model with `n_experts` in each layer that has any.

    Blocks of one layer follow each other in the order of the text; layers may come in any order. Each may use another
    number of experts per token, as some architectures do.
    """

    def __init__(self, n_experts: int) -> None:
        self._n = n_experts
        self._bits = tuple(1 << expert for expert in range(n_experts))
        self._layers: dict[int, _Layer] = {}

    def add(self, choices: Choices, classes: Sequence[TokenClass] | None = None) -> None:
        """Count a block; `classes` has the class of each of its tokens.

        Raises:
            ValueError: The block gives tokens another number of experts than the layer's blocks before, or has more or
                fewer classes than tokens.
        """
        if classes is not None and len(classes) != choices.count:
            raise ValueError(f"{len(classes)} classes for {choices.count} tokens")
        if choices.count:
            layer = self._layers.get(choices.layer) or _Layer(self._n, choices.used)
            self._layers[choices.layer] = layer
            layer.add(choices, classes, masks_of(choices.experts, choices.used, self._bits))

    def end_piece(self) -> None:
        """The next block of every layer begins a new text: no pair of tokens crosses the border."""
        for layer in self._layers.values():
            layer.end_piece()

    def report(self) -> Report:
        """What was counted so far."""
        return Report(self._n, tuple(self._layers[index].report(index) for index in sorted(self._layers)))


_NO_EXPERT, _NO_SET, _NOWHERE = -1, 0, -1


class _Layer:
    """One layer's counts; the last token's choice waits for the token after it."""

    __slots__ = (
        "_any",
        "_batches",
        "_first",
        "_firsts",
        "_last",
        "_last_set",
        "_n",
        "_next",
        "_pairs",
        "_sets",
        "_used",
    )

    def __init__(self, n_experts: int, used: int) -> None:
        self._n = n_experts
        self._used = used
        self._batches = Batches(n_experts, used)
        self._sets = Sets(n_experts, used)
        self._firsts: Counter[tuple[TokenClass | None, int]] = Counter()
        self._pairs = self._first = self._any = 0
        self.end_piece()

    def end_piece(self) -> None:
        self._last, self._last_set, self._next = _NO_EXPERT, _NO_SET, _NOWHERE

    def add(self, choices: Choices, classes: Sequence[TokenClass] | None, masks: list[int]) -> None:
        if choices.used != self._used:
            raise ValueError(f"layer {choices.layer}: {choices.used} experts per token, not {self._used}")
        firsts = choices.experts[:: self._used]
        self._batches.add(choices.experts)
        self._sets.add(masks)
        self._firsts.update(zip(classes or repeat(None, len(firsts)), firsts, strict=True))
        if choices.first != self._next:
            self.end_piece()
        self._repeat(firsts, masks)
        self._last, self._last_set, self._next = firsts[-1], masks[-1], choices.first + len(firsts)

    def _repeat(self, firsts: Sequence[int], masks: list[int]) -> None:
        """The token before the first one has no expert and the empty set where there is none: nothing is like it."""
        self._pairs += len(firsts) - (self._last == _NO_EXPERT)
        self._first += countOf(map(eq, chain((self._last,), firsts), firsts), True)  # noqa: FBT003
        self._any += len(masks) - countOf(map(and_, chain((self._last_set,), masks), masks), 0)

    def report(self, index: int) -> LayerReport:
        batches = self._batches.counts()
        shares = shares_of(batches, self._all_firsts())
        return LayerReport(
            layer=index,
            used=self._used,
            shares=shares,
            repeats=repeats_of(Pairs(self._pairs, self._first, self._any), self._used, shares.first),
            by_class=by_class(self._table()),
            traffic=traffic_of(index, self._used, totals(batches), self._sets),
            batches=batches,
        )

    def _all_firsts(self) -> Counts:
        counts = [0] * self._n
        for (_, expert), count in self._firsts.items():
            counts[expert] += count
        return tuple(counts)

    def _table(self) -> dict[TokenClass, Counts]:
        kinds = {kind for kind, _ in self._firsts if kind is not None}
        return {kind: tuple(self._firsts[kind, expert] for expert in range(self._n)) for kind in kinds}
