"""A benchmark beside earlier ones of the same model, placement and build.

Knows what a figure's spread is and when a run is slower than that explains; refuses to know where earlier runs are
kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final, Literal

from mixchat.store.history import Record

LEAST_CHANGE: Final = 0.05

Kind = Literal["prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure.

    Attributes:
        kind: What was measured.
        depth: Tokens in the KV cache before.
        samples: Tokens per second of each round.
        forecast: What the plan's arithmetic says for this depth; None when nobody knows the machine's speed.
    """

    kind: Kind
    depth: int
    samples: tuple[float, ...]
    forecast: float | None

    @property
    def name(self) -> str:
        """Its name in the history, such as `decode@1024`."""
        return f"{self.kind}@{self.depth}"

    @property
    def median(self) -> float:
        """Of the samples."""
        return median(self.samples)

    @property
    def spread(self) -> float:
        """From the slowest to the fastest sample, relative to the median."""
        return _spread(self.samples)

    @property
    def ratio(self) -> float | None:
        """Measured over forecast."""
        return self.median / self.forecast if self.forecast else None


@dataclass(frozen=True, slots=True)
class Change:
    """A figure against the median of earlier runs.

    Attributes:
        kind: What was measured.
        depth: Tokens in the KV cache before.
        change: Relative; -0.12 is 12 % slower.
        allowed: The part of it that the spread explains.
        runs: Earlier runs.
        since: When the oldest of them was.
    """

    kind: Kind
    depth: int
    change: float
    allowed: float
    runs: int
    since: datetime

    @property
    def regression(self) -> bool:
        """Whether it is slower than the spread explains."""
        return self.change < -self.allowed


def compare(measurements: Sequence[Measurement], before: Sequence[Record]) -> tuple[Change, ...]:
    """How each figure stands against earlier runs that have it.

    A change counts when it is larger than all of: 5 %, the spread of the earlier runs' medians, and the spread of this
    run's rounds; a spread goes from slowest to fastest, relative to the median.
    """
    return tuple(change for each in measurements if (change := _compare(each, before)) is not None)


def _compare(measured: Measurement, before: Sequence[Record]) -> Change | None:
    having = [record for record in before if measured.name in record.figures]
    if not having:
        return None
    figures = [record.figures[measured.name] for record in having]
    change = measured.median / median(figures) - 1
    allowed = max(LEAST_CHANGE, _spread(figures), measured.spread)
    return Change(measured.kind, measured.depth, change, allowed, len(having), having[0].when)


def _spread(figures: Sequence[float]) -> float:
    return (max(figures) - min(figures)) / median(figures)
