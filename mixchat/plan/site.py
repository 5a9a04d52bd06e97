"""What is to be divided between which GPUs: sizes of the pieces, and room of the devices.

Knows arithmetic on a model and its GPUs; refuses to know which pieces go where.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from mixchat.gguf.model import Layer, MoeModel
from mixchat.plan.memory import ALL_PARTS, compute_bytes, kv_per_layer
from mixchat.plan.pack import EXPERTS, Bin, Piece
from mixchat.plan.pinned import Pinned
from mixchat.plan.tracing import head_bytes, trace_ubatch
from mixchat.plan.values import Device, KvType


@dataclass(frozen=True)
class Site:
    """What is to be divided, and between which GPUs.

    Attributes:
        whole: The model.
        pinned: What the person's overrides leave of it.
        gpus: In llama.cpp's order.
        margin: Bytes that stay free on each.
        context: Tokens.
        kv_type: Type of the KV cache.
        ubatch: Tokens of one prefill batch.
        trace: Tokens of a second context that traces the routers' choices; 0: none.
    """

    whole: MoeModel
    pinned: Pinned
    gpus: tuple[Device, ...]
    margin: int
    context: int
    kv_type: KvType
    ubatch: int
    trace: int = 0

    @property
    def model(self) -> MoeModel:
        """What is left to be placed."""
        return self.pinned.model

    @cached_property
    def kv(self) -> tuple[int, ...]:
        """Bytes of KV cache by layer."""
        return kv_per_layer(self.whole, self.context, self.kv_type)

    @cached_property
    def trace_kv(self) -> tuple[int, ...]:
        """Bytes of the second context's KV cache by layer."""
        return kv_per_layer(self.whole, self.trace, self.kv_type)

    @cached_property
    def trace_head(self) -> int:
        """Bytes that the second context needs at most where the head is."""
        return head_bytes(self.whole, self.ubatch, self.trace)

    @property
    def end(self) -> int:
        """Bytes for which there must be room where the head is."""
        return self.head + self.trace_head

    @cached_property
    def head(self) -> int:
        """Bytes of the head and of what else lies outside the layers; a tied head is a copy of the embedding."""
        return self.model.other + (self.whole.token_embd if self.whole.tied else self.model.output)

    @cached_property
    def dense_pieces(self) -> tuple[Piece, ...]:
        """Of each layer what is not routed experts, with its KV caches."""
        caches = (chat + trace for chat, trace in zip(self.kv, self.trace_kv, strict=True))
        return tuple(
            Piece(layer.index, "dense", layer.dense + kv, 0 if whole.experts else ALL_PARTS)
            for layer, whole, kv in zip(self.model.layers, self.whole.layers, caches, strict=True)
        )

    @cached_property
    def expert_pieces(self) -> tuple[tuple[Piece, ...], ...]:
        """Of each layer its routed experts' tensors."""
        return tuple(tuple(self._experts(layer)) for layer in self.model.layers)

    def _experts(self, layer: Layer) -> Iterator[Piece]:
        joined = self.joined(layer.index)
        if joined and (size := layer.up + layer.gate):
            yield Piece(layer.index, "up", size, 2)
        for kind in EXPERTS[2:] if joined else EXPERTS:
            if size := getattr(layer, kind):
                yield Piece(layer.index, kind, size, 1)

    def joined(self, layer: int) -> bool:
        """Whether one tensor holds the layer's gate and up."""
        return any(weights.part == "gate_up" for weights in self.whole.layers[layer].weights)

    @cached_property
    def matrices(self) -> tuple[int, ...]:
        """How many expert matrices each layer has that are left to be placed."""
        return tuple(sum(piece.parts for piece in pieces) for pieces in self.expert_pieces)

    @cached_property
    def dense_sums(self) -> tuple[int, ...]:
        """Bytes of the dense pieces before each layer, and of all."""
        return tuple(accumulate((piece.nbytes for piece in self.dense_pieces), initial=0))

    @cached_property
    def expert_sums(self) -> tuple[int, ...]:
        """Bytes of the routed experts before each layer, and of all."""
        sizes = (sum(piece.nbytes for piece in pieces) for pieces in self.expert_pieces)
        return tuple(accumulate(sizes, initial=0))

    @cached_property
    def last_moe(self) -> int:
        """The number of layers up to the last one with routed experts."""
        return max((layer.index + 1 for layer in self.whole.layers if layer.experts), default=0)

    def budget(self, gpu: Device) -> int:
        """Bytes of a GPU that may be used."""
        free = gpu.free - self.margin
        return max(0, free if gpu.budget is None else min(gpu.budget, free))

    def streams(self, gpu: Device) -> bool:
        """Whether llama.cpp copies the CPU's experts there for prompts: to the first GPU with memory of its own."""
        return gpu == next((each for each in self.gpus if not each.remote and not each.unified), None)

    @cached_property
    def streamed(self) -> int:
        """Bytes of the largest expert tensor: one at a time is copied."""
        return max((max(layer.up, layer.gate, layer.down) for layer in self.whole.layers), default=0)

    def bins(self, *, experts_on_cpu: bool) -> tuple[Bin, ...]:
        """The GPUs as bins; while experts are on the CPU, one needs room for their copies."""
        return self._bins_streaming if experts_on_cpu else self._bins

    @cached_property
    def _bins(self) -> tuple[Bin, ...]:
        sizes = self._compute
        return tuple(Bin(gpu.name, self._room(gpu), sizes, self._trace_compute) for gpu in self.gpus)

    @cached_property
    def _bins_streaming(self) -> tuple[Bin, ...]:
        most = self._compute[ALL_PARTS] + self.streamed
        copying = (most, most, most, most)
        second = self._trace_compute[ALL_PARTS] + self.streamed if self.trace else 0
        tracing = (second, second, second, second)
        return tuple(
            Bin(gpu.name, self._room(gpu), copying, tracing) if self.streams(gpu) else plain
            for gpu, plain in zip(self.gpus, self._bins, strict=True)
        )

    @cached_property
    def _compute(self) -> tuple[int, int, int, int]:
        none, one, two, three = (compute_bytes(self.whole, self.ubatch, self.context, parts) for parts in range(4))
        return none, one, two, three

    @cached_property
    def _trace_compute(self) -> tuple[int, int, int, int]:
        if not self.trace:
            return 0, 0, 0, 0
        ubatch = trace_ubatch(self.ubatch, self.trace)
        none, one, two, three = (compute_bytes(self.whole, ubatch, self.trace, parts) for parts in range(4))
        return none, one, two, three

    @property
    def full_compute(self) -> int:
        """Compute buffers of a GPU that holds any part of a layer."""
        return self._compute[ALL_PARTS]

    def _room(self, gpu: Device) -> int:
        return self.budget(gpu) - self.pinned.weights.get(gpu.name, 0)
