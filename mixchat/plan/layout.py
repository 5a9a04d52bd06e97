"""Ways to divide a model between GPUs and the CPU that fit the GPUs.

Knows what fits: attention, norms, router, KV cache and head first, then experts layer by layer from the front, and of
one more layer those tensors that still fit; where not even all the dense parts fit, the last layers as llama.cpp counts
them, without their experts or whole. Refuses to know time, RAM and which way is best.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from mixchat.gguf.model import Layer
from mixchat.plan.pack import EXPERTS, Bin, Packed, Piece, pack
from mixchat.plan.site import Site
from mixchat.plan.values import CPU, Placement, Wishes

_SUBSETS = (
    ("up", "gate"),
    ("up", "down"),
    ("gate", "down"),
    ("down",),
    ("up",),
    ("gate",),
)
_JOINED = (("up", "gate"), ("down",))
_MOST_CHOSEN = 3
"""GPUs that may end within a layer, less one, as far as it is tried which of them; else it may be any."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way.

    Attributes:
        layers: Where each lies.
        head: Where the head lies.
        start: The first layer that is on a GPU; the number of layers plus one: none, nor the head.
        split: Layers of each GPU, the head included.
        held: Weights and KV cache on each GPU.
        compute: Compute buffers on each GPU.
        experts: The first layer whose experts are not on a GPU.
        cut: The parts of that layer's experts that are.
    """

    layers: tuple[Placement, ...]
    head: str
    start: int
    split: tuple[int, ...]
    held: tuple[int, ...]
    compute: tuple[int, ...]
    experts: int = 0
    cut: tuple[str, ...] = ()

    @property
    def n_gpu_layers(self) -> int:
        """As llama.cpp counts, the head included."""
        return len(self.layers) + 1 - self.start


def on_cpu(site: Site) -> Layout:
    """Everything on the CPU but what overrides pin."""
    count, gpus = site.whole.n_layers, len(site.gpus)
    layers = tuple(_placement(site, layer.index, CPU, {}) for layer in site.whole.layers)
    return Layout(layers, CPU, count + 1, (0,) * gpus, (0,) * gpus, (0,) * gpus)


def on_gpus(site: Site, wishes: Wishes) -> Iterator[Layout]:
    """The ways worth a comparison that fit the GPUs, the one with most on them first; none when nothing fits.

    Numbers that the person gave are obeyed, and then there is one way at most.
    """
    if not site.gpus:
        return
    if wishes.gpu_layers is not None or wishes.expert_layers is not None:
        yield from _as_told(site, wishes)
        return
    count = site.whole.n_layers
    if not wishes.held_back and (everything := _try(site, 0, count)) is not None:
        yield everything
    elif not any(gpu.unified for gpu in site.gpus):
        yield from _divided(site, wishes)


def _divided(site: Site, wishes: Wishes) -> Iterator[Layout]:
    """Experts of some layers on the CPU; on unified memory that is slower than either all or nothing on the GPU."""
    count = site.whole.n_layers
    most = _most(lambda experts: _fits(site, 0, experts), count)
    if most is None or not site.last_moe:
        yield from _tails(site, wishes)
        return
    if not wishes.held_back and most < count:
        yield from _with_cut(site, most)
    counts = sorted({max(0, most - wishes.held_back), 0}, reverse=True)
    yield from (layout for experts in counts if (layout := _try(site, 0, experts)) is not None)


def holds_all(site: Site) -> bool:
    """Whether everything fits the GPUs."""
    return _fits(site, 0, site.whole.n_layers)


def _as_told(site: Site, wishes: Wishes) -> Iterator[Layout]:
    """The first layer on the GPUs and the first one whose experts are not, by the person's own numbers."""
    count = site.whole.n_layers
    start = 0 if wishes.gpu_layers is None else max(0, count + 1 - wishes.gpu_layers)
    experts = count if wishes.expert_layers is None else min(count, start + wishes.expert_layers)
    layout = on_cpu(site) if start > site.whole.n_layers else _try(site, start, experts - wishes.held_back)
    if layout is not None:
        yield layout


def _tails(site: Site, wishes: Wishes) -> Iterator[Layout]:
    """The last layers, as many as fit: without their experts, and whole."""
    count = site.whole.n_layers
    for experts in (0, count):
        most = _most(lambda tail: _fits(site, count - tail, experts), count)  # noqa: B023 - used at once
        tails = () if most is None else (most - wishes.held_back,)
        yield from (layout for tail in tails if tail >= 0 and (layout := _try(site, count - tail, experts)) is not None)


def _with_cut(site: Site, experts: int) -> Iterator[Layout]:
    """The largest part of one more layer's experts that fits, if any does."""
    layer = site.model.layers[experts]
    subsets = sorted(_JOINED if site.joined(experts) else _SUBSETS, key=lambda parts: -_bytes(layer, parts))
    for parts in subsets:
        if _bytes(layer, parts) and _fits(site, 0, experts, parts):
            layout = _try(site, 0, experts, parts)
            assert layout is not None  # noqa: S101 - it was asked just now
            yield layout
            return


def _bytes(layer: Layer, parts: Sequence[str]) -> int:
    return sum(getattr(layer, part) for part in parts)


def _most(holds: Callable[[int], bool], limit: int) -> int | None:
    """The largest count from 0 to `limit` that fits; None when not even 0 does. More is never easier."""
    if not holds(0):
        return None
    return bisect_left(range(1, limit + 1), 1, key=lambda count: 0 if holds(count) else 1)


def again(site: Site, layout: Layout) -> Layout | None:
    """The same way on another site; None when it does not fit there."""
    return _try(site, layout.start, layout.experts, layout.cut)


def _try(site: Site, start: int, experts: int, cut: tuple[str, ...] = ()) -> Layout | None:
    """Layers from `start` on the GPUs, with the experts of those before `experts` and parts of one more layer's.

    Between two GPUs a layer is torn only when there is no other way, and as few as can be: each costs hand-overs.
    """
    pieces, bins = _pieces(site, start, experts, cut), _bins(site, start, experts)
    borders = range(len(bins) - 1)
    ways = (torn for count in range(min(len(bins), _MOST_CHOSEN)) for torn in combinations(borders, count))
    packed = next((found for torn in ways if (found := pack(pieces, bins, torn)) is not None), None)
    packed = packed or pack(pieces, bins)
    return None if packed is None else _layout(site, pieces, packed, (experts, cut))


def _fits(site: Site, start: int, experts: int, cut: tuple[str, ...] = ()) -> bool:
    """Whether `_try` finds a way; on one GPU that is a sum."""
    bins = _bins(site, start, experts)
    if len(bins) > 1:
        return pack(_pieces(site, start, experts, cut), bins) is not None
    end = max(start, experts)
    total = site.end + site.dense_sums[-1] - site.dense_sums[start] + site.expert_sums[end] - site.expert_sums[start]
    routed = range(start, min(end, site.whole.n_layers))
    parts = max((site.matrices[index] for index in routed), default=0)
    parts = max(parts, max((piece.parts for piece in site.dense_pieces[start:]), default=0))
    if cut and experts >= start:
        chosen = [piece for piece in site.expert_pieces[experts] if piece.kind in cut]
        total += sum(piece.nbytes for piece in chosen)
        parts = max(parts, sum(piece.parts for piece in chosen))
    return total + bins[0].needs(parts) <= bins[0].room


def _bins(site: Site, start: int, experts: int) -> tuple[Bin, ...]:
    rest = experts < site.last_moe or any(layer.experts for layer in site.whole.layers[:start])
    return site.bins(experts_on_cpu=rest)


def _pieces(site: Site, start: int, experts: int, cut: tuple[str, ...]) -> list[Piece]:
    pieces: list[Piece] = []
    for index in range(start, site.whole.n_layers):
        pieces.append(site.dense_pieces[index])
        if index < experts:
            pieces += site.expert_pieces[index]
        elif index == experts:
            pieces += [piece for piece in site.expert_pieces[index] if piece.kind in cut]
    pieces.append(Piece(site.whole.n_layers, "head", site.end))
    return pieces


def _layout(site: Site, pieces: Sequence[Piece], packed: Packed, how: tuple[int, tuple[str, ...]]) -> Layout:
    names = [gpu.name for gpu in site.gpus]
    where: list[dict[str, str]] = [{} for _ in range(site.whole.n_layers + 1)]
    split = [0] * len(names)
    for piece, index in zip(pieces, packed.bins, strict=True):
        where[piece.layer][piece.kind] = names[index]
        if piece.kind == "up" and piece.parts > 1:
            where[piece.layer]["gate"] = names[index]
        split[index] += piece.kind in {"dense", "head"}
    layers = tuple(_placement(site, index, at.get("dense", CPU), at) for index, at in enumerate(where[:-1]))
    return Layout(
        layers,
        where[-1]["head"],
        pieces[0].layer,
        tuple(split),
        packed.held,
        packed.compute,
        *how,
    )


def _placement(site: Site, index: int, attention: str, at: dict[str, str]) -> Placement:
    """Where a layer lies; parts that are not placed are on the CPU, a dense layer's where its attention is."""
    rest = CPU if site.whole.layers[index].experts else attention
    if site.pinned.parts:
        at = at | {part: site.pinned.parts[index, part] for part in EXPERTS if (index, part) in site.pinned.parts}
    up, gate, down = at.get("up", rest), at.get("gate", rest), at.get("down", rest)
    return Placement(index, attention, up, gate, down)
