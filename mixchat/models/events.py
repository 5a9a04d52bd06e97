"""What a download tells while it works.

Knows the values; refuses to know how they are shown. Sizes are bytes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Downloading:
    """Bytes that are on the disk, of all files together."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Verifying:
    """Bytes of one file that were read again from the disk for its hash."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing happens for so many seconds, and why, as a sentence."""

    seconds: float
    why: str


FetchEvent = Downloading | Verifying | Waiting
