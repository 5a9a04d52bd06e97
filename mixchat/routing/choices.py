"""Knows how one layer's router chose experts for tokens; refuses to know where the choices come from."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """What one layer's router chose for one token.

    `position` counts the tokens of the text from 0; `experts` are the chosen ones, the first choice (the largest
    weight) first, and `weights` are theirs in the same order, as the model applies them.
    """

    layer: int
    position: int
    experts: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """What one layer's router chose for the consecutive tokens `first`, `first + 1`, ... of a text.

    `used` experts are chosen for every token; `experts` and `weights` hold them row by row, a token's first choice
    (the largest weight) first.
    """

    layer: int
    first: int
    used: int
    experts: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def count(self) -> int:
        """The number of tokens."""
        return len(self.experts) // self.used

    def each(self) -> Iterator[Choice]:
        """Every token's choice, in the order of the text."""
        for row in range(self.count):
            cut = slice(row * self.used, (row + 1) * self.used)
            yield Choice(self.layer, self.first + row, self.experts[cut], self.weights[cut])
