"""A layout in llama.cpp's words: override patterns.

Knows the regular expressions that take just the tensors that lie elsewhere than their layer; refuses to know why they
lie there.
"""

from collections.abc import Iterator, Sequence

from mixchat.gguf.model import MoeModel
from mixchat.plan.values import Override, Placement

_NAMES = {"up": ("up", "gate_up"), "gate": ("gate",), "down": ("down",)}
_ORDER = ("up", "gate_up", "gate", "down")


def overrides_of(model: MoeModel, layers: Sequence[Placement]) -> tuple[Override, ...]:
    r"""Overrides for expert tensors that lie on another device than their layer's attention.

    Layers with the same parts on the same device share a pattern, such as
    `blk\.(30|31)\.ffn_(up|gate_up|gate|down)_(ch|)exps`; a tensor that joins gate and up goes with up.
    """
    groups: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for layer in layers:
        if model.layers[layer.index].experts:
            for key in _moved(layer):
                groups.setdefault(key, []).append(layer.index)
    return tuple(Override(_pattern(indices, parts), device) for (parts, device), indices in groups.items())


def _moved(layer: Placement) -> Iterator[tuple[tuple[str, ...], str]]:
    places = {"up": layer.up, "gate": layer.gate, "down": layer.down}
    for device in dict.fromkeys(places.values()):
        if device != layer.attention:
            yield tuple(part for part, place in places.items() if place == device), device


def _pattern(indices: Sequence[int], parts: Sequence[str]) -> str:
    names = {name for part in parts for name in _NAMES[part]}
    kinds = "|".join(name for name in _ORDER if name in names)
    return rf"^blk\.({'|'.join(map(str, indices))})\.ffn_({kinds})_(ch|)exps"
