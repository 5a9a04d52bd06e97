"""Knows whether two texts were routed differently; refuses to know what is in them.

What two samples of one source differ by is taken from the texts themselves, from how the shares vary between batches
of consecutive tokens (batches.py). It assumes that batches are independent draws from their source: true when the
text is long against what is said in one go; false when a text is a single file of one style and the question is about
all files like it. Then every difference between two files is found, and only more files tell more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import add, sub

from mixchat.routing.batches import ENOUGH_BATCHES, Counts, deviations
from mixchat.routing.chance import FALSE_ALARMS, chance_bound
from mixchat.routing.shares import total_variation
from mixchat.routing.tally import LayerReport, Report


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """How differently one layer routes two texts.

    - `difference`: the total variation distance between the two texts' shares of assignments: this part of one
      text's choices would have to fall on other experts to be shared like the other's; 0 to 1
    - `first`: the same for first choices, to be held against the `distance` of token classes (association.py)
    - `chance`: the difference to expect of two samples of one source, and `error`, its standard deviation
    - `bound`: what two samples of one source stay under 95 times in 100
    - `beyond`: whether the difference is above that; None, like the three before, if a text has fewer than 16 batches
      of 128 tokens
    """

    layer: int
    difference: float
    first: float
    chance: float | None
    error: float | None
    bound: float | None
    beyond: bool | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How differently two texts are routed in every layer that both have."""

    layers: tuple[LayerDifference, ...]

    @property
    def judged(self) -> int:
        """The layers with a verdict."""
        return sum(layer.beyond is not None for layer in self.layers)

    @property
    def beyond(self) -> int:
        """The layers whose difference is more than chance gives."""
        return sum(layer.beyond is True for layer in self.layers)

    @property
    def false_alarms(self) -> float:
        """How many layers to expect in `beyond` if both texts had one source: 5 % of those judged.

        Layers see the same tokens, so false alarms come in groups: several together are still no proof.
        """
        return FALSE_ALARMS * self.judged


def compare(left: Report, right: Report) -> Comparison:
    """Hold two texts' routing in the same model against each other.

    Raises:
        ValueError: The reports are of models with different experts.
    """
    others = {layer.layer: layer for layer in right.layers}
    pairs = [(layer, others[layer.layer]) for layer in left.layers if layer.layer in others]
    if left.n_experts != right.n_experts or any(one.used != other.used for one, other in pairs):
        raise ValueError("The two reports are of different models.")
    return Comparison(tuple(_difference(one, other) for one, other in pairs))


def _difference(one: LayerReport, other: LayerReport) -> LayerDifference:
    difference = total_variation(one.shares.assignments, other.shares.assignments)
    first = total_variation(one.shares.first, other.shares.first)
    if min(len(one.batches), len(other.batches)) < ENOUGH_BATCHES:
        return LayerDifference(one.layer, difference, first, None, None, None, None)
    chance, error = _mean_and_deviation(same_source(one.batches, other.batches))
    bound = chance_bound(chance, error)
    return LayerDifference(one.layer, difference, first, chance, error, bound, difference > bound)


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def same_source(one: Sequence[Counts], other: Sequence[Counts]) -> list[float]:
    """Differences such as two texts that vary between batches like these would have if they had one source.

    1. Each batch moves the difference p - q of an expert's shares by its deviation from its own text.
    2. If the batches are independent, each deviation could as well have had the other sign.
    3. The signs come from the rows of a Hadamard matrix: over all rows the variance and covariances of the
       differences are those of the batches, without drawing at random (balanced half-samples; McCarthy 1969,
       "Pseudo-Replication: Half Samples"). The two rows with one sign for all of a text move nothing; they are left
       out.
    """
    size = 1 << (max(len(one), len(other)) - 1).bit_length()
    sums = [0.0] * (2 * size)
    for left, right in zip(deviations(one), deviations(other), strict=True):
        sums = list(map(add, sums, map(abs, hadamard(_padded(left, size) + _padded(right, size)))))
    return [total / 2 for row, total in enumerate(sums) if row % size]


def _padded(values: list[float], size: int) -> list[float]:
    return values + [0.0] * (size - len(values))


def hadamard(values: list[float]) -> list[float]:
    """The sums of the values, as many as a power of two, with the signs of each row of Sylvester's Hadamard matrix."""
    if len(values) == 1:
        return values
    half = len(values) // 2
    left, right = hadamard(values[:half]), hadamard(values[half:])
    return [*map(add, left, right), *map(sub, left, right)]
