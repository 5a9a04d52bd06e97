"""A mixture-of-experts model as its file's header describes it: its shape, and bytes per layer and role.

Knows the metadata keys and sums up tensors by role; refuses to know memory, devices and whether anything fits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mixchat.errors import BadHeader
from mixchat.gguf.cursor import HINT
from mixchat.gguf.header import Header, TensorInfo
from mixchat.gguf.metadata import architecture_of, feed_forward_widths, optional_text, per_layer, positive
from mixchat.gguf.quantization import quantization_of
from mixchat.gguf.roles import Part, role_of

Layout = Literal["merged", "legacy", "dense"]

MAX_LAYERS = 512
"""llama.cpp's `LLAMA_MAX_LAYERS`."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Matrices of one part and type.

    Attributes:
        part: `gate_up` is a tensor that joins both.
        type: ggml's name, such as `Q4_K`.
        nbytes: All of them together.
        count: How many tensors.
    """

    part: Part
    type: str
    nbytes: int
    count: int


@dataclass(frozen=True, slots=True)
class Layer:
    """Bytes of one layer.

    Attributes:
        index: Counted from 0.
        dense: Everything but routed experts: attention, norms, router, shared experts, dense feed-forward.
        up: Routed experts, all of them; of a tensor that joins gate and up, half.
        gate: Routed experts; the other half.
        down: Routed experts.
        weights: The same by part and type.
    """

    index: int
    dense: int
    up: int
    gate: int
    down: int
    weights: tuple[Weights, ...] = ()

    @property
    def experts(self) -> int:
        """Bytes of all its routed experts."""
        return self.up + self.gate + self.down

    @property
    def total(self) -> int:
        """All its bytes."""
        return self.dense + self.experts


@dataclass(frozen=True, slots=True)
class MoeModel:
    """A model's shape and bytes; a dense model is one with no experts.

    Attributes:
        name: `general.name`, else the architecture.
        architecture: llama.cpp's name of it; Mixtral's is `llama`.
        layout: How experts are stored: `merged` (one tensor of all), `legacy` (one tensor each), `dense` (none).
        quantization: Such as `Q4_K_M`.
        context_length: Tokens that it was trained for.
        width: Elements of the embedding.
        dense_feed_forward: Neurons of the widest block that every token passes, as the metadata say.
        expert_feed_forward: Neurons of one routed expert; 0 when dense.
        vocab_size: Tokens that it knows.
        heads: Query heads per layer.
        kv_heads: Key and value heads per layer; 0 in a layer without a KV cache.
        key_length: Elements of one head's key.
        value_length: Elements of one head's value.
        n_experts: Routed experts per layer; 0 when dense.
        n_experts_used: Experts that the router chooses per token, at the most; 0 when dense.
        layers: Bytes per layer.
        token_embd: Bytes of the token embedding.
        output: Bytes of the head; 0 when it is the token embedding.
        other: Bytes outside the layers, embedding and head (the last norm).
        tokenizer: `tokenizer.ggml.model`.
        chat_template: The file's own Jinja template.
        file_bytes: Bytes of the complete file.
        outside: Bytes outside the layers by part and type.
        tensors: All of them.
        used_by_layer: The file gives every layer a number of experts used of its own.
    """

    name: str
    architecture: str
    layout: Layout
    quantization: str
    context_length: int
    width: int
    dense_feed_forward: int
    expert_feed_forward: int
    vocab_size: int
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    n_experts: int
    n_experts_used: int
    layers: tuple[Layer, ...]
    token_embd: int
    output: int
    other: int
    tokenizer: str
    chat_template: str | None
    file_bytes: int
    outside: tuple[Weights, ...] = ()
    tensors: tuple[TensorInfo, ...] = ()
    used_by_layer: bool = False

    @property
    def n_layers(self) -> int:
        """Count of its layers."""
        return len(self.layers)

    @property
    def feed_forward(self) -> int:
        """Widest feed-forward block that one token passes: of a mixture the chosen experts together."""
        return max(self.dense_feed_forward, self.expert_feed_forward * self.n_experts_used)

    @property
    def tied(self) -> bool:
        """Whether the token embedding is also the head."""
        return self.output == 0 and self.token_embd > 0

    @property
    def expert_bytes(self) -> int:
        """Bytes of all routed experts."""
        return sum(layer.experts for layer in self.layers)

    @property
    def weights(self) -> int:
        """Bytes of all tensors."""
        return sum(layer.total for layer in self.layers) + self.token_embd + self.output + self.other

    @property
    def active_bytes_per_token(self) -> int:
        """Bytes that decoding one token reads: used / count of the experts, everything dense, and the head.

        The token embedding is a look-up of one row and not counted, unless it is the head too.
        """
        experts = self.expert_bytes * self.n_experts_used // max(self.n_experts, 1)
        looked_up = 0 if self.tied else self.token_embd
        return experts + self.weights - self.expert_bytes - looked_up


def describe(header: Header) -> MoeModel:
    """Read a model's shape from metadata and its bytes from the tensors.

    Raises:
        BadHeader: A key is missing (named in the message), or metadata and tensors contradict each other.
    """
    architecture = architecture_of(header)
    inside, outside = _by_layer(header, _layer_count(header, architecture))
    layers = tuple(_layer(index, weights) for index, weights in enumerate(inside))
    layout = _layout(header)
    n_experts, n_used = (0, 0) if layout == "dense" else _experts(header, architecture)
    width = positive(header, f"{architecture}.embedding_length")
    heads = per_layer(header, f"{architecture}.attention.head_count", len(layers))
    head_size = width // max(*heads, 1)
    dense_width, expert_width = feed_forward_widths(header, architecture, mixture=n_experts > 0)
    return MoeModel(
        name=header.text("general.name", architecture),
        architecture=architecture,
        layout=layout,
        quantization=quantization_of(header),
        context_length=positive(header, f"{architecture}.context_length"),
        width=width,
        dense_feed_forward=dense_width,
        expert_feed_forward=expert_width,
        vocab_size=_vocab_size(header, architecture),
        heads=heads,
        kv_heads=per_layer(header, f"{architecture}.attention.head_count_kv", len(layers), heads),
        key_length=positive(header, f"{architecture}.attention.key_length", head_size),
        value_length=positive(header, f"{architecture}.attention.value_length", head_size),
        n_experts=n_experts,
        n_experts_used=n_used,
        layers=layers,
        token_embd=_sum(outside, "token_embd"),
        output=_sum(outside, "output"),
        other=_sum(outside, "other"),
        tokenizer=header.text("tokenizer.ggml.model"),
        chat_template=optional_text(header, "tokenizer.chat_template"),
        file_bytes=header.file_bytes,
        outside=tuple(outside),
        tensors=header.tensors,
        used_by_layer=isinstance(header.metadata.get(f"{architecture}.expert_used_count"), tuple),
    )


def _layer_count(header: Header, architecture: str) -> int:
    key = f"{architecture}.block_count"
    count = positive(header, key)
    if count > MAX_LAYERS:
        raise BadHeader(f"The metadata's {key} is {count}; llama.cpp's limit is {MAX_LAYERS}.", HINT)
    return count


def _layout(header: Header) -> Layout:
    routed = [role for role in (role_of(tensor.name) for tensor in header.tensors) if role.routed]
    if any(role.expert is not None for role in routed):
        return "legacy"
    return "merged" if routed else "dense"


def _experts(header: Header, architecture: str) -> tuple[int, int]:
    count = positive(header, f"{architecture}.expert_count")
    used = max(header.integers(f"{architecture}.expert_used_count"), default=0)
    if not 0 < used <= count:
        raise BadHeader(f"The metadata's {architecture}.expert_used_count is {used}, of {count} experts.", HINT)
    return count, used


def _vocab_size(header: Header, architecture: str) -> int:
    key = f"{architecture}.vocab_size"
    if key in header.metadata:
        return positive(header, key)
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, tuple) and tokens:
        return len(tokens)
    for tensor in header.tensors:
        if role_of(tensor.name).part == "token_embd" and tensor.shape and tensor.shape[-1]:
            return tensor.shape[-1]
    raise BadHeader(f"The metadata lacks {key}.", HINT)


def _by_layer(header: Header, layers: int) -> tuple[list[list[Weights]], list[Weights]]:
    """Weights of each layer, and of what lies outside the layers."""
    held: dict[tuple[int | None, Part, str], Weights] = {}
    for tensor in header.tensors:
        role = role_of(tensor.name)
        if role.layer is not None and role.layer >= layers:
            raise BadHeader(f"Tensor {tensor.name!r} lies past the last of {layers} layers.", HINT)
        key = (role.layer, role.part, tensor.type.name)
        nbytes, count = (held[key].nbytes, held[key].count) if key in held else (0, 0)
        held[key] = Weights(role.part, tensor.type.name, nbytes + tensor.nbytes, count + 1)
    inside: list[list[Weights]] = [[] for _ in range(layers)]
    outside: list[Weights] = []
    for (layer, _part, _type), weights in held.items():
        (outside if layer is None else inside[layer]).append(weights)
    return inside, outside


def _sum(weights: Iterable[Weights], part: Part) -> int:
    return sum(each.nbytes for each in weights if each.part == part)


def _layer(index: int, weights: Sequence[Weights]) -> Layer:
    joined = _sum(weights, "gate_up")
    return Layer(
        index,
        dense=_sum(weights, "dense"),
        up=_sum(weights, "up") + joined - joined // 2,
        gate=_sum(weights, "gate") + joined // 2,
        down=_sum(weights, "down"),
        weights=tuple(weights),
    )
