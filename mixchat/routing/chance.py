"""Knows what chance stays under; refuses to know what was measured."""

import math
from collections.abc import Sequence

FALSE_ALARMS = 0.05
_Z = 1.6448536269514722  # the 95 % quantile of the normal distribution, for FALSE_ALARMS


def chance_bound(mean: float, deviation: float) -> float:
    """What a sum of squares or of magnitudes with this mean and standard deviation stays under 95 times in 100.

    As if it were gamma distributed, by the cube root transformation: m (1 - 1/(9a) + z/(3 sqrt a))^3 with a = m^2/s^2
    (Wilson and Hilferty 1931, whose case of chi-squared is m = df, s = sqrt(2 df)).
    """
    if not mean:
        return 0.0
    root = deviation / mean / 3
    return float(mean * (1 - root * root + _Z * root) ** 3)


def chance_variation(shares: Sequence[float], left: int, right: int) -> float:
    """The total variation distance to expect of two samples of `left` and `right` independent draws from `shares`.

    Half the sum over the shares p of sqrt(2/pi) sqrt(p (1 - p) (1/left + 1/right)): the mean magnitude of a normal
    difference. It is larger for tokens that depend on their neighbours.
    """
    samples = 2 / math.pi * (1 / left + 1 / right)
    return math.fsum(math.sqrt(samples * share * (1 - share)) for share in shares) / 2
