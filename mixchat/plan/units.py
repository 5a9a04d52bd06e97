"""Sizes in words.

Knows how a size is written by people; refuses to know what has that size.
"""

import re
from fractions import Fraction

from mixchat.errors import UsageError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,3})")
_STEPS = ("KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def format_bytes(size: int) -> str:
    """A size such as `26.5 GiB`: binary units, one decimal."""
    if size < _STEP:
        return f"{size} B"
    amount = float(size)
    for unit in _STEPS:
        amount /= _STEP
        if round(amount, 1) < _STEP:
            return f"{amount:.1f} {unit}"
    return f"{amount:.1f} {_STEPS[-1]}"


def parse_size(text: str) -> int:
    """The bytes that `8GiB`, `512MiB`, `24GB`, `1.5GiB` or `123` mean, rounded down.

    Raises:
        UsageError: It is none of these; `8G` is not, because it does not say which unit it means.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise UsageError(f"{text!r} is not a size.", "Write 8GiB, 512MiB, 24GB or plain bytes.")
    return int(Fraction(match[1]) * _UNITS[match[2].lower()])
