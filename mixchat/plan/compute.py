"""Compute buffers by what lies on a device.

Knows which matrices of a layer count; refuses to know why they lie there.
"""

from collections.abc import Sequence

from mixchat.gguf.model import MoeModel
from mixchat.plan.memory import ALL_PARTS, compute_bytes, input_bytes
from mixchat.plan.values import CPU, Placement


def parts_on(layers: Sequence[Placement], device: str) -> int:
    """How many matrices of one layer's feed-forward block lie on a device at most."""
    return max((layer.up, layer.gate, layer.down).count(device) for layer in layers)


def cpu_compute(model: MoeModel, layers: Sequence[Placement], ubatch: int, context: int) -> int:
    """Bytes of the CPU's compute buffers; with none of the layers there, the inputs alone."""
    here = ALL_PARTS if any(layer.attention == CPU for layer in layers) else parts_on(layers, CPU)
    return compute_bytes(model, ubatch, context, here) if here else input_bytes(model, ubatch, context)
