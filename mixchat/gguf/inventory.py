"""The tensors of a model counted by what they are for and how they are stored.

Knows roles in the words that people use; refuses to know how they are shown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mixchat.gguf.header import TensorInfo
from mixchat.gguf.roles import role_of

_PARTS: Final = {
    "up": "experts up",
    "gate": "experts gate",
    "down": "experts down",
    "gate_up": "experts gate and up",
    "token_embd": "embedding",
    "output": "head",
}
_DENSE: Final = (
    ("norms", re.compile(r"_norm\b")),
    ("router", re.compile(r"\.ffn_gate_inp\b|\.exp_probs_b\b")),
    ("shared experts", re.compile(r"_shexp\b")),
    ("attention", re.compile(r"\.attn_")),
    ("feed-forward", re.compile(r"\.ffn_")),
)
_ORDER: Final = (*_PARTS.values(), *(role for role, _pattern in _DENSE), "other")


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors of one role and one type.

    Attributes:
        role: In words, such as `experts up`, `attention`, `router`.
        type: Such as `Q4_K`.
        count: How many.
        nbytes: All of them together.
    """

    role: str
    type: str
    count: int
    nbytes: int


def tensor_groups(tensors: Sequence[TensorInfo]) -> tuple[Group, ...]:
    """Every tensor once: by role, and within a role the type with most bytes first."""
    held: dict[tuple[str, str], list[int]] = {}
    for tensor in tensors:
        held.setdefault((_role(tensor.name), tensor.type.name), []).append(tensor.nbytes)
    groups = (Group(role, kind, len(sizes), sum(sizes)) for (role, kind), sizes in held.items())
    return tuple(sorted(groups, key=lambda group: (_ORDER.index(group.role), -group.nbytes, group.type)))


def _role(name: str) -> str:
    part = role_of(name).part
    if part in _PARTS:
        return _PARTS[part]
    return next((role for role, pattern in _DENSE if pattern.search(name)), "other")
