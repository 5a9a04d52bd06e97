"""Tiny mixtures with F32 weights that numpy made, and numpy's own forward pass of their routers.

Two architectures: `llama`, as Mixtral, and `dots1`, which has leading dense layers, normed queries and keys, a shared
expert, and routers that choose by biased sigmoids, normalize the unbiased ones and scale them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np  # noqa: TID253 - tests may

from mixchat.gguf.header import parse_header
from mixchat.gguf.types import TYPES
from mixchat.gguf.writer import Typed, f32, flag, header_bytes, text, u32

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
Weights: TypeAlias = dict[str, Array]
EPSILON = 1e-5
BASE = 10000.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a tiny mixture.

    Attributes:
        gating: As llama.cpp counts: 1 is softmax, 2 sigmoid.
        normed: A token's weights add up to 1 before `scale`.
        lead: Dense layers before those with a router.
    """

    arch: Literal["llama", "dots1", "nemotron_h"] = "llama"
    layers: int = 3
    experts: int = 8
    used: int = 2
    width: int = 64
    hidden: int = 96
    heads: int = 4
    kv_heads: int = 2
    words: int = 256
    gating: int = 1
    normed: bool = True
    scale: float = 1.0
    lead: int = 0

    @property
    def head(self) -> int:
        """Elements of one head."""
        return self.width // self.heads


def dots1(**fields: object) -> Shape:
    """A mixture with one leading dense layer."""
    return Shape(arch="dots1", kv_heads=4, **{"lead": 1, "gating": 2, "scale": 2.5, **fields})  # type: ignore[arg-type]


def random_weights(shape: Shape, seed: int = 0) -> Weights:
    """Weights by tensor name; a matrix has a row for each of its outputs."""
    rng = np.random.default_rng(seed)
    made: Weights = {}
    for name, dims in _dims(shape).items():
        values = rng.standard_normal(dims, dtype=np.float32)
        if "norm" in name:
            made[name] = (1 + 0.2 * values).astype(np.float32)
        elif name.endswith("bias"):
            made[name] = 0.2 * values
        else:
            spread = {"token_embd.weight": 1.0}.get(name, (3.0 if "gate_inp" in name else 1.0) * dims[-1] ** -0.5)
            made[name] = (spread * values).astype(np.float32)
    return made


def _dims(shape: Shape) -> dict[str, tuple[int, ...]]:
    width, kv = shape.width, shape.kv_heads * shape.head
    dims: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (shape.words, width),
        "output.weight": (shape.words, width),
        "output_norm.weight": (width,),
    }
    for layer in range(shape.layers):
        own: dict[str, tuple[int, ...]] = {"attn_norm": (width,), "ffn_norm": (width,)}
        own |= {"attn_q": (width, width), "attn_k": (kv, width), "attn_v": (kv, width), "attn_output": (width, width)}
        if shape.arch == "dots1":
            own |= {"attn_q_norm": (shape.head,), "attn_k_norm": (shape.head,)}
        own |= _block(shape, layer < shape.lead)
        dims |= {f"blk.{layer}.{name}.weight": each for name, each in own.items()}
        if shape.gating == 2 and layer >= shape.lead:
            dims[f"blk.{layer}.exp_probs_b.bias"] = (shape.experts,)
    return dims


def _block(shape: Shape, dense: bool) -> dict[str, tuple[int, ...]]:
    up, down = (shape.hidden, shape.width), (shape.width, shape.hidden)
    if dense:
        return {"ffn_gate": up, "ffn_up": up, "ffn_down": down}
    routed = {
        "ffn_gate_inp": (shape.experts, shape.width),
        **{f"{name}_exps": (shape.experts, *up) for name in ("ffn_gate", "ffn_up")},
        "ffn_down_exps": (shape.experts, *down),
    }
    shared = {"ffn_gate_shexp": up, "ffn_up_shexp": up, "ffn_down_shexp": down}
    return routed | (shared if shape.arch == "dots1" else {})


def write(path: Path, shape: Shape, weights: Weights) -> Path:
    """Write the model as a GGUF file."""
    return write_gguf(path, _metadata(shape), weights)


def write_gguf(path: Path, metadata: Mapping[str, Typed], weights: Weights) -> Path:
    """Write F32 tensors as a GGUF file."""
    specs = [(name, tuple(reversed(array.shape)), TYPES["F32"]) for name, array in weights.items()]
    header = header_bytes(metadata, specs)
    with path.open("wb") as file:
        file.write(header)
        for tensor in parse_header(header).tensors:
            file.seek(len(header) + tensor.offset)
            file.write(np.ascontiguousarray(weights[tensor.name], dtype="<f4").tobytes())
    return path


def _metadata(shape: Shape) -> Mapping[str, Typed]:
    numbers = {
        "context_length": 4096,
        "embedding_length": shape.width,
        "block_count": shape.layers,
        "feed_forward_length": shape.hidden,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "rope.dimension_count": shape.head,
        "expert_count": shape.experts,
        "expert_used_count": shape.used,
        "vocab_size": shape.words,
    }
    own = {"rope.freq_base": f32(BASE), "attention.layer_norm_rms_epsilon": f32(EPSILON)}
    if shape.arch == "dots1":
        numbers |= {
            "leading_dense_block_count": shape.lead,
            "expert_feed_forward_length": shape.hidden,
            "expert_shared_count": 1,
            "expert_gating_func": shape.gating,
        }
        own |= {"expert_weights_scale": f32(shape.scale), "expert_weights_norm": flag(shape.normed)}
    keys = {name: u32(value) for name, value in numbers.items()} | own
    start = {"general.architecture": text(shape.arch), "general.name": text("tiny"), "general.file_type": u32(0)}
    return {**start, **{f"{shape.arch}.{name}": value for name, value in keys.items()}, **NO_WORDS}


NO_WORDS = {"tokenizer.ggml.model": text("no_vocab")}


@dataclass(frozen=True, slots=True)
class Routing:
    """What one layer's router does with every token.

    Attributes:
        experts: A row for each token, the largest weight first.
        weights: Likewise.
        margin: By how much each token's last chosen expert was preferred to the first one that was not.
    """

    experts: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"
    weights: Array
    margin: Array


def routings(shape: Shape, weights: Weights, tokens: list[int]) -> dict[int, Routing]:
    """The routers of all layers that have one, evaluated from the first token on."""
    flow = weights["token_embd.weight"][tokens]
    found: dict[int, Routing] = {}
    for layer in range(shape.layers):
        own = {
            name.removeprefix(f"blk.{layer}."): array
            for name, array in weights.items()
            if name.startswith(f"blk.{layer}.")
        }
        flow = flow + attention(shape, own, rms_normed(flow, own["attn_norm.weight"]))
        inner = rms_normed(flow, own["ffn_norm.weight"])
        if layer < shape.lead:
            flow = flow + _gated(inner, own, "")
            continue
        found[layer] = route(shape, own, inner)
        flow = flow + _experts(own, inner, found[layer])
        if shape.arch == "dots1":
            flow = flow + _gated(inner, own, "_shexp")
    return found


def rms_normed(values: Array, weight: Array) -> Array:
    mean: Array = np.mean(values**2, axis=-1, keepdims=True)
    normed: Array = values / np.sqrt(mean + np.float32(EPSILON)) * weight
    return normed


def attention(shape: Shape, own: Weights, inner: Array) -> Array:
    count = len(inner)
    query: Array = (inner @ own["attn_q.weight"].T).reshape(count, shape.heads, shape.head)
    key: Array = (inner @ own["attn_k.weight"].T).reshape(count, shape.kv_heads, shape.head)
    value: Array = (inner @ own["attn_v.weight"].T).reshape(count, shape.kv_heads, shape.head)
    if shape.arch == "dots1":
        query, key = rms_normed(query, own["attn_q_norm.weight"]), rms_normed(key, own["attn_k_norm.weight"])
    if shape.arch != "nemotron_h":
        query, key = _rotated(shape, query), _rotated(shape, key)
    group = shape.heads // shape.kv_heads
    key, value = np.repeat(key, group, axis=1), np.repeat(value, group, axis=1)
    scores = np.einsum("ihd,jhd->hij", query, key) * np.float32(shape.head**-0.5)
    scores = np.where(np.tril(np.ones((count, count), dtype=bool)), scores, np.float32(-np.inf))
    mixed = np.einsum("hij,jhd->ihd", _softmax(scores), value).reshape(count, -1)
    out: Array = mixed @ own["attn_output.weight"].T
    return out


def _rotated(shape: Shape, values: Array) -> Array:
    """Rotary embedding: of neighbours in `llama`, of the two halves in `dots1`."""
    half = shape.head // 2
    angles = np.arange(len(values))[:, None] * BASE ** (-np.arange(half) / half)
    sine, cosine = (each[:, None, :].astype(np.float32) for each in (np.sin(angles), np.cos(angles)))
    if shape.arch == "dots1":
        one, other = values[..., :half], values[..., half:]
        return np.concatenate((one * cosine - other * sine, one * sine + other * cosine), axis=-1)
    one, other = values[..., 0::2], values[..., 1::2]
    both = np.stack((one * cosine - other * sine, one * sine + other * cosine), axis=-1)
    turned: Array = both.reshape(values.shape)
    return turned


def route(shape: Shape, own: Weights, inner: Array) -> Routing:
    logits = inner @ own["ffn_gate_inp.weight"].T
    probabilities = _softmax(logits) if shape.gating == 1 else 1 / (1 + np.exp(-logits))
    preferred = probabilities + own["exp_probs_b.bias"] if "exp_probs_b.bias" in own else probabilities
    ranked = np.argsort(-preferred, axis=-1, kind="stable")
    best = np.take_along_axis(preferred, ranked, axis=-1)
    experts = ranked[:, : shape.used]
    weights = np.take_along_axis(probabilities, experts, axis=-1)
    if shape.normed:
        weights = weights / weights.sum(axis=-1, keepdims=True)
    weights = weights * np.float32(shape.scale)
    order = np.argsort(-weights, axis=-1, kind="stable")
    experts, weights = np.take_along_axis(experts, order, axis=-1), np.take_along_axis(weights, order, axis=-1)
    return Routing(experts, weights, best[:, shape.used - 1] - best[:, shape.used])


def _experts(own: Weights, inner: Array, routing: Routing) -> Array:
    out = np.zeros_like(inner)
    for row, (experts, weights) in enumerate(zip(routing.experts, routing.weights, strict=True)):
        for expert, weight in zip(experts, weights, strict=True):
            one = {name: own[f"{name}_exps.weight"][expert] for name in ("ffn_gate", "ffn_up", "ffn_down")}
            out[row] += weight * _swiglu(inner[row], one["ffn_gate"], one["ffn_up"], one["ffn_down"])
    return out


def _gated(inner: Array, own: Weights, suffix: str) -> Array:
    gate, up, down = (own[f"ffn_{part}{suffix}.weight"] for part in ("gate", "up", "down"))
    return _swiglu(inner, gate, up, down)


def _swiglu(inner: Array, gate: Array, up: Array, down: Array) -> Array:
    gated = inner @ gate.T
    out: Array = (gated / (1 + np.exp(-gated)) * (inner @ up.T)) @ down.T
    return out


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares
