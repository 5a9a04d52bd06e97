"""A tiny model of gpt-oss's layout: mixture of experts, every other layer attends to a window."""

from pathlib import Path

from tests.mistral_vocab import _add_tokens

WINDOW = 16
_WIDTH, _HEADS, _HEAD, _WORDS, _EXPERTS, _LAYERS = 64, 2, 32, 32000, 4, 2


def write_tiny_window(path: Path, first_context: int = 512) -> Path:
    """Write it with random weights and Mixtral's vocabulary.

    Args:
        path: Where to write.
        first_context: Tokens that it claims to have been trained for before its context was stretched.
    """
    import numpy as np
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "gpt-oss")
    numbers = {
        "block_count": _LAYERS,
        "context_length": 1024,
        "embedding_length": _WIDTH,
        "feed_forward_length": _WIDTH,
        "expert_feed_forward_length": _WIDTH,
        "attention.head_count": _HEADS,
        "attention.head_count_kv": _HEADS,
        "attention.key_length": _HEAD,
        "attention.value_length": _HEAD,
        "attention.sliding_window": WINDOW,
        "rope.dimension_count": _HEAD,
        "rope.scaling.original_context_length": first_context,
        "expert_count": _EXPERTS,
        "expert_used_count": 2,
        "vocab_size": _WORDS,
    }
    for key, value in numbers.items():
        writer.add_uint32(f"gpt-oss.{key}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_tokens(writer)
    random = np.random.default_rng(0)
    for name, shape in _shapes().items():
        scale, base = (0.0, 1.0) if "norm" in name else (0.15, 0.0)
        writer.add_tensor(name, (base + random.normal(0, scale, shape) if scale else np.ones(shape)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (_WORDS, _WIDTH) for name in ("token_embd", "output")}
    shapes["output_norm.weight"] = (_WIDTH,)
    for block in (f"blk.{layer}" for layer in range(_LAYERS)):
        shapes |= {f"{block}.{norm}.weight": (_WIDTH,) for norm in ("attn_norm", "post_attention_norm")}
        shapes |= {f"{block}.attn_{part}.weight": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "output")}
        shapes |= {f"{block}.attn_{part}.bias": (_WIDTH,) for part in ("q", "k", "v", "output")}
        shapes[f"{block}.attn_sinks.weight"] = (_HEADS,)
        shapes |= {f"{block}.ffn_gate_inp.weight": (_EXPERTS, _WIDTH), f"{block}.ffn_gate_inp.bias": (_EXPERTS,)}
        shapes |= {f"{block}.ffn_{part}_exps.weight": (_EXPERTS, _WIDTH, _WIDTH) for part in ("gate", "up", "down")}
        shapes |= {f"{block}.ffn_{part}_exps.bias": (_EXPERTS, _WIDTH) for part in ("gate", "up", "down")}
    return shapes
