"""A tiny Nemotron-H whose routers choose another number of experts in each layer, and numpy's pass of its routers.

A layer is attention, a mixture or a Mamba mixer. The one mixer comes last, where no router sees what it computes.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np  # noqa: TID253 - tests may

from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import Typed, array, f32, flag, text, u32
from tests.engine.numpy_moe import (
    EPSILON,
    NO_WORDS,
    Array,
    Routing,
    Shape,
    Weights,
    attention,
    rms_normed,
    route,
    write_gguf,
)

SHAPE = Shape(arch="nemotron_h", gating=2, scale=2.5)
USED = (0, 1, 3, 0, 2, 0)
"""Experts by layer; those without are attention, and the last a mixer."""
MIXER = len(USED) - 1
CONV, INNER, STATE, RANK, GROUPS = 4, 64, 16, 4, 1


def random_weights(seed: int) -> Weights:
    """Weights by tensor name; a matrix has a row for each of its outputs."""
    rng = np.random.default_rng(seed)
    made: Weights = {}
    for name, dims in _dims().items():
        values = rng.standard_normal(dims, dtype=np.float32)
        if "norm" in name:
            made[name] = (1 + 0.2 * values).astype(np.float32)
        elif name.endswith("bias"):
            made[name] = 0.2 * values
        elif name.endswith("ssm_a"):
            made[name] = -np.exp(values)
        else:
            spread = {"token_embd.weight": 1.0}.get(name, (3.0 if "gate_inp" in name else 1.0) * dims[-1] ** -0.5)
            made[name] = (spread * values).astype(np.float32)
    return made


def _dims() -> dict[str, tuple[int, ...]]:
    width, hidden, kv = SHAPE.width, SHAPE.hidden, SHAPE.kv_heads * SHAPE.head
    dims: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (SHAPE.words, width),
        "output.weight": (SHAPE.words, width),
        "output_norm.weight": (width,),
    }
    channels = INNER + 2 * GROUPS * STATE
    for layer, used in enumerate(USED):
        own: dict[str, tuple[int, ...]] = {"attn_norm.weight": (width,)}
        if used:
            own |= {"ffn_gate_inp.weight": (SHAPE.experts, width), "exp_probs_b.bias": (SHAPE.experts,)}
            own |= {"ffn_up_exps.weight": (SHAPE.experts, hidden, width), "ffn_up_shexp.weight": (hidden, width)}
            own |= {"ffn_down_exps.weight": (SHAPE.experts, width, hidden), "ffn_down_shexp.weight": (width, hidden)}
        elif layer == MIXER:
            own |= {"ssm_in.weight": (INNER + channels + RANK, width), "ssm_conv1d.weight": (channels, CONV)}
            own |= {"ssm_conv1d.bias": (channels,), "ssm_dt.bias": (RANK,)}
            own |= {"ssm_a": (RANK, 1), "ssm_d": (RANK, 1)}
            own |= {"ssm_norm.weight": (GROUPS, INNER // GROUPS), "ssm_out.weight": (width, INNER)}
        else:
            own |= {"attn_q.weight": (width, width), "attn_k.weight": (kv, width), "attn_v.weight": (kv, width)}
            own |= {"attn_output.weight": (width, width)}
        dims |= {f"blk.{layer}.{name}": each for name, each in own.items()}
    return dims


def write(path: Path, weights: Weights) -> Path:
    """Write the model as a GGUF file."""
    attends = [not used and layer != MIXER for layer, used in enumerate(USED)]
    numbers = {
        "context_length": 4096,
        "embedding_length": SHAPE.width,
        "block_count": len(USED),
        "attention.head_count": SHAPE.heads,
        "expert_count": SHAPE.experts,
        "expert_feed_forward_length": SHAPE.hidden,
        "expert_shared_feed_forward_length": SHAPE.hidden,
        "expert_shared_count": 1,
        "expert_gating_func": SHAPE.gating,
        "vocab_size": SHAPE.words,
        "ssm.conv_kernel": CONV,
        "ssm.inner_size": INNER,
        "ssm.state_size": STATE,
        "ssm.time_step_rank": RANK,
        "ssm.group_count": GROUPS,
    }
    by_layer = {
        "expert_used_count": USED,
        "feed_forward_length": [SHAPE.hidden * bool(used) for used in USED],
        "attention.head_count_kv": [SHAPE.kv_heads * attend for attend in attends],
    }
    keys: dict[str, Typed] = {name: u32(value) for name, value in numbers.items()}
    keys |= {name: array(ValueType.UINT32, values) for name, values in by_layer.items()}
    keys |= {"attention.layer_norm_epsilon": f32(EPSILON), "attention.layer_norm_rms_epsilon": f32(EPSILON)}
    keys |= {"expert_weights_scale": f32(SHAPE.scale), "expert_weights_norm": flag(SHAPE.normed)}
    start = {"general.architecture": text(SHAPE.arch), "general.name": text("tiny"), "general.file_type": u32(0)}
    named = {f"{SHAPE.arch}.{name}": value for name, value in keys.items()}
    return write_gguf(path, {**start, **named, **NO_WORDS}, weights)


def routings(weights: Weights, tokens: list[int]) -> dict[int, Routing]:
    """The routers of all layers that have one, evaluated from the first token on."""
    flow = weights["token_embd.weight"][tokens]
    found: dict[int, Routing] = {}
    for layer, used in enumerate(USED[:MIXER]):
        mark = f"blk.{layer}."
        own = {name.removeprefix(mark): each for name, each in weights.items() if name.startswith(mark)}
        inner = rms_normed(flow, own["attn_norm.weight"])
        if used:
            found[layer] = route(replace(SHAPE, used=used), own, inner)
            flow = flow + _experts(own, inner, found[layer])
            flow = flow + _squared(inner, own["ffn_up_shexp.weight"], own["ffn_down_shexp.weight"])
        else:
            flow = flow + attention(SHAPE, own, inner)
    return found


def _experts(own: Weights, inner: Array, routing: Routing) -> Array:
    out = np.zeros_like(inner)
    for row, (experts, weights) in enumerate(zip(routing.experts, routing.weights, strict=True)):
        for expert, weight in zip(experts, weights, strict=True):
            up, down = own["ffn_up_exps.weight"][expert], own["ffn_down_exps.weight"][expert]
            out[row] += weight * _squared(inner[row], up, down)
    return out


def _squared(inner: Array, up: Array, down: Array) -> Array:
    out: Array = np.maximum(inner @ up.T, 0) ** 2 @ down.T
    return out
