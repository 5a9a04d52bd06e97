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
_LEAST_PLAIN = 1 << 20


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
    """The bytes that `8GiB`, `512MiB`, `24GB`, `1.5GiB` or `123456789` mean, rounded down.

    Raises:
        UsageError: It is none of these; `8G` is not, because it does not say which unit it means, and a small number
            without any most likely lacks it.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise UsageError(f"{text!r} is not a size.", "Write 8GiB, 512MiB, 24GB or plain bytes.")
    size = int(Fraction(match[1]) * _UNITS[match[2].lower()])
    if not match[2] and 0 < size < _LEAST_PLAIN:
        raise UsageError(
            f"{text!r} has no unit, and so few bytes are no size.", f"Write {text.strip()}GiB or the like."
        )
    return size


def parse_speeds(text: str) -> tuple[int, ...]:
    """The bytes per second that `60GB/s` or `60GB/s,900GB/s` mean; nothing of an empty text.

    Raises:
        UsageError: One is none, or 0.
    """
    return tuple(_parse_speed(part.strip()) for part in text.split(",")) if text else ()


def _parse_speed(text: str) -> int:
    try:
        speed = parse_size(text.removesuffix("/s"))
    except UsageError:
        speed = 0
    if not speed:
        raise UsageError(f"{text!r} is not a bandwidth.", "Write 60GB/s, or 60GB/s,900GB/s: RAM first, then each GPU.")
    return speed
