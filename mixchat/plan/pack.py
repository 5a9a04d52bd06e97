"""Puts a model's pieces into devices, in order.

Knows pieces, room and the compute buffers that a device needs for what it holds; refuses to know why a piece is there.
Layers must lie on the devices in one run each, because llama.cpp divides them so; putting each piece into the current
device while it fits, else into the next, finds a division whenever there is one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

PieceKind = Literal["dense", "up", "gate", "down", "head"]

EXPERTS: tuple[PieceKind, ...] = ("up", "gate", "down")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that stay together.

    Attributes:
        layer: Its layer; the head's is the number of layers.
        kind: `dense` is attention, router, norms and KV cache, and the feed-forward block of a layer that has no
            routed experts; `up` is gate too where one tensor joins both.
        nbytes: Weights and KV cache.
        parts: Matrices of the feed-forward block among them, of a layer's three: up, gate and down.
    """

    layer: int
    kind: PieceKind
    nbytes: int
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Bin:
    """A device to be filled.

    Attributes:
        name: Its name.
        room: Bytes that may be used.
        compute: Bytes of compute buffers by the matrices of one layer's feed-forward block that it holds, 0 to 3.
        trace: Likewise those of a second context, for which room must remain.
    """

    name: str
    room: int
    compute: tuple[int, int, int, int]
    trace: tuple[int, int, int, int] = (0, 0, 0, 0)

    def needs(self, parts: int) -> int:
        """Bytes of both contexts' compute buffers."""
        return self.compute[parts] + self.trace[parts]


@dataclass(frozen=True, slots=True)
class Packed:
    """Where pieces went: for each its bin's index, and for each bin its bytes and the compute buffers it needs."""

    bins: tuple[int, ...]
    held: tuple[int, ...]
    compute: tuple[int, ...]


def pack(pieces: Sequence[Piece], bins: Sequence[Bin], torn: Collection[int] | None = None) -> Packed | None:
    """Fill the bins in order; None when there is no room.

    Args:
        pieces: In the order of the layers.
        bins: At least one.
        torn: The bins that may end within a layer, which goes on in the next one; None: all.
    """
    index = 0
    held, parts, used = [0] * len(bins), [0] * len(bins), [False] * len(bins)
    placed: list[int] = []
    for _layer, group in groupby(pieces, key=lambda piece: piece.layer):
        rest = list(group)
        while rest:
            if index == len(bins):
                return None
            count, most = _fitting(rest, bins[index], held[index], parts[index])
            if count < len(rest) and not (torn is None or index in torn):
                count = 0
            if count:
                held[index] += sum(piece.nbytes for piece in rest[:count])
                parts[index], used[index] = most[count], True
                placed += [index] * count
            rest = rest[count:]
            index += bool(rest)
    compute = (bin_.compute[most] if use else 0 for bin_, most, use in zip(bins, parts, used, strict=True))
    return Packed(tuple(placed), tuple(held), tuple(compute))


def _fitting(pieces: Sequence[Piece], bin_: Bin, held: int, parts: int) -> tuple[int, list[int]]:
    """How many of a layer's pieces a bin still takes, and for each such number the matrices of one layer it then has.

    Args:
        pieces: Of one layer.
        bin_: Where to.
        held: Bytes that it has.
        parts: The most matrices of one layer that it has.
    """
    here, most = 0, [parts]
    for count, piece in enumerate(pieces):
        here += piece.parts
        held += piece.nbytes
        if held + bin_.needs(max(here, parts)) > bin_.room:
            return count, most
        most.append(max(here, parts))
    return len(pieces), most
