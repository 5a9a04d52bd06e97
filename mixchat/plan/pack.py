"""Puts a model's pieces into devices, in order.

Knows pieces, room and the compute buffers that a device needs for what it holds; refuses to know why a piece is there.
Layers must lie on the devices in one run each, because llama.cpp divides them so; putting each piece into the current
device while it fits, else into the next, finds a division whenever there is one.
"""

from collections.abc import Iterator, Sequence
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
    """

    name: str
    room: int
    compute: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Packed:
    """Where pieces went: for each its bin's index, and for each bin its bytes and the compute buffers it needs."""

    bins: tuple[int, ...]
    held: tuple[int, ...]
    compute: tuple[int, ...]


def pack(pieces: Sequence[Piece], bins: Sequence[Bin], *, whole: bool = False) -> Packed | None:
    """Fill the bins in order; None when there is no room.

    Args:
        pieces: In the order of the layers.
        bins: At least one.
        whole: Keep each layer's pieces together.
    """
    index, layer, here = 0, -1, 0
    held, parts, used = [0] * len(bins), [0] * len(bins), [False] * len(bins)
    placed: list[int] = []
    for nbytes, more, number, count in _steps(pieces, whole=whole):
        here = here if number == layer else 0
        layer = number
        while True:
            if index == len(bins):
                return None
            wanted = max(here + more, parts[index])
            if held[index] + nbytes + bins[index].compute[wanted] <= bins[index].room:
                break
            index, here = index + 1, 0
        here += more
        held[index] += nbytes
        parts[index], used[index] = wanted, True
        placed += [index] * count
    compute = (bin_.compute[most] if use else 0 for bin_, most, use in zip(bins, parts, used, strict=True))
    return Packed(tuple(placed), tuple(held), tuple(compute))


def _steps(pieces: Sequence[Piece], *, whole: bool) -> Iterator[tuple[int, int, int, int]]:
    """What goes into a bin at once: bytes, matrices, layer, and how many pieces it is."""
    if not whole:
        yield from ((piece.nbytes, piece.parts, piece.layer, 1) for piece in pieces)
        return
    for layer, group in groupby(pieces, key=lambda piece: piece.layer):
        together = list(group)
        yield sum(each.nbytes for each in together), sum(each.parts for each in together), layer, len(together)
