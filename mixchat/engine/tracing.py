"""How the routers' choices cross the pipe: packed, since there is one for every token and layer.

Knows bytes; refuses to know what is chosen. A block of 512 tokens of one layer takes a seventh of the time that its
numbers would take as JSON, and every weight stays the float that it was.
"""

import struct
from base64 import b64decode, b64encode
from dataclasses import dataclass

from mixchat.engine.events import TraceRequest
from mixchat.routing.choices import Choices


@dataclass(frozen=True, slots=True)
class AskTrace:
    """Answered by `Routed` and `Prefilling` events and `Traced`."""

    request: TraceRequest


@dataclass(frozen=True, slots=True)
class Routed:
    """`Choices`; experts as 16-bit and weights as 32-bit numbers, little endian, in Base64."""

    layer: int
    first: int
    used: int
    experts: str
    weights: str


@dataclass(frozen=True, slots=True)
class Traced:
    """The end of a trace, be it cancelled or not."""


def routed(choices: Choices) -> Routed:
    """Pack choices."""
    count = len(choices.experts)
    experts = struct.pack(f"<{count}H", *choices.experts)
    weights = struct.pack(f"<{count}f", *choices.weights)
    return Routed(choices.layer, choices.first, choices.used, _text(experts), _text(weights))


def choices_of(packed: Routed) -> Choices:
    """Unpack choices."""
    experts, weights = b64decode(packed.experts), b64decode(packed.weights)
    count = len(experts) // 2
    return Choices(
        packed.layer,
        packed.first,
        packed.used,
        struct.unpack(f"<{count}H", experts),
        struct.unpack(f"<{count}f", weights),
    )


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
