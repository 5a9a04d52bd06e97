"""The names of checkpoints: those that a person set, and those that are set before something is given up.

Knows names; refuses to know what a checkpoint holds.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal

Kind = Literal["fork", "undone", "edited", "regenerated", "left"]

_OWN: Final = re.compile(r"(undone|edited|regenerated|left) [0-9]+")


def free_name(known: Sequence[str], kind: Kind) -> str:
    """The first of `kind 1`, `kind 2` and so on that is not known."""
    return next(name for count in range(1, len(known) + 2) if (name := f"{kind} {count}") not in known)


def last_name(known: Sequence[str]) -> str:
    """The last one that a person set, else the last one; there is at least one."""
    return next((name for name in reversed(known) if not _OWN.fullmatch(name)), known[-1])
