"""What a tensor is for, told by its name.

Knows llama.cpp's tensor names; refuses to know sizes, types and devices.
"""

import re
from dataclasses import dataclass
from typing import Literal

Part = Literal["up", "gate", "down", "gate_up", "dense", "token_embd", "output", "other"]

_MERGED = re.compile(r"blk\.([0-9]+)\.ffn_(gate_up|gate|up|down)_(?:ch)?exps\.")
_LEGACY = re.compile(r"blk\.([0-9]+)\.ffn_(gate|up|down)\.([0-9]+)\.")
_BLOCK = re.compile(r"blk\.([0-9]+)\.")
_EXPERT_PARTS: dict[str, Part] = {"up": "up", "gate": "gate", "down": "down", "gate_up": "gate_up"}


@dataclass(frozen=True, slots=True)
class Role:
    """What a tensor is for.

    Attributes:
        part: `up`, `gate`, `down` and `gate_up` are routed experts; `dense` is everything else in a layer
            (attention, norms, the router, shared experts, a dense feed-forward block); `output` is the head;
            `other` lies outside the layers.
        layer: Its layer; None outside the layers.
        expert: The one expert that it holds, in the legacy layout; None when it holds all.
    """

    part: Part
    layer: int | None = None
    expert: int | None = None

    @property
    def routed(self) -> bool:
        """Whether only the experts that the router chose are read from it."""
        return self.part in _EXPERT_PARTS


def role_of(name: str) -> Role:
    """The role of the tensor with this name.

    Merged experts are the tensors that llama.cpp's own pattern for expert offloading takes:
    `blk.N.ffn_(up|down|gate|gate_up)_(ch|)exps`, their biases and scales included.
    """
    if match := _MERGED.match(name):
        return Role(_EXPERT_PARTS[match[2]], int(match[1]))
    if match := _LEGACY.match(name):
        return Role(_EXPERT_PARTS[match[2]], int(match[1]), int(match[3]))
    if match := _BLOCK.match(name):
        return Role("dense", int(match[1]))
    if name == "token_embd.weight":
        return Role("token_embd")
    return Role("output" if name.startswith("output.") else "other")
