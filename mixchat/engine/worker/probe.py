"""Does this build of llama.cpp compute on this CPU? A 2 MB model, written on the spot, answers in milliseconds.

Knows one fault and how to provoke it: a build whose tile or repacked kernels die or miscompute at the first batch of
two or more tokens (llama.cpp issue 20824). Refuses to know what follows from the answer.
"""

import ctypes
import random
import struct
from pathlib import Path
from typing import Final

from mixchat.engine.events import LoadRequest
from mixchat.engine.worker.bindings import AbortFlag, llama
from mixchat.engine.worker.loading import Model, load
from mixchat.engine.worker.log import Log
from mixchat.errors import EngineError
from mixchat.gguf import writer
from mixchat.gguf.types import TYPES, GgmlType

_VOCABULARY: Final = 256
_WIDTH: Final = 256
_FEED_FORWARD: Final = 512
_EXPERTS: Final = 4
_BATCH: Final = 32
_BLOCK: Final = 32
_F32: Final = TYPES["F32"]
_Q8_0: Final = TYPES["Q8_0"]


def answer(path: Path, log: Log, *, extra_buffers: bool) -> tuple[float, ...]:
    """Run the tiny model at `path`, written first when it is not there; see `run`."""
    if not path.exists():
        write_model(path)
    return run(path, log, extra_buffers=extra_buffers)


def write_model(path: Path) -> None:
    """Write a two-layer MoE in Q8_0 with reproducible random weights; widths are multiples of 256."""
    tensors = _tensors()
    generator = random.Random(0)  # noqa: S311 - weights, not secrets
    with path.open("wb") as file:
        file.write(writer.header_bytes(_metadata(), tensors))
        for _name, shape, kind in tensors:
            file.write(_weights(generator, shape, kind))


def run(path: Path, log: Log, *, extra_buffers: bool) -> tuple[float, ...]:
    """Evaluate a batch of 32 tokens, then one more.

    Returns:
        Logits of the batch's last token and of the single one: 2 x 256 values.

    Raises:
        EngineError: llama.cpp refuses to evaluate.
    """
    request = LoadRequest(str(path), context=256, ubatch=_BATCH, threads=2, extra_buffers=extra_buffers)
    model = load(request, AbortFlag(), log, lambda _event: None)
    try:
        first = _logits(model, list(range(1, _BATCH + 1)))
        return first + _logits(model, [7])
    finally:
        model.free()


def _logits(model: Model, tokens: list[int]) -> tuple[float, ...]:
    ids = (llama.llama_token * len(tokens))(*tokens)
    if llama.llama_decode(model.context, llama.llama_batch_get_one(ids, len(tokens))) != 0:
        raise EngineError("llama.cpp does not evaluate its test model.", "Reinstall llama-cpp-python.")
    values = llama.llama_get_logits_ith(model.context, -1)
    return tuple(ctypes.cast(values, ctypes.POINTER(ctypes.c_float * _VOCABULARY)).contents)


def _metadata() -> dict[str, writer.Typed]:
    return {
        "general.architecture": writer.text("llama"),
        "llama.context_length": writer.u32(512),
        "llama.embedding_length": writer.u32(_WIDTH),
        "llama.block_count": writer.u32(2),
        "llama.feed_forward_length": writer.u32(_FEED_FORWARD),
        "llama.attention.head_count": writer.u32(4),
        "llama.attention.head_count_kv": writer.u32(2),
        "llama.attention.layer_norm_rms_epsilon": writer.f32(1e-5),
        "llama.rope.dimension_count": writer.u32(64),
        "llama.expert_count": writer.u32(_EXPERTS),
        "llama.expert_used_count": writer.u32(2),
        "llama.vocab_size": writer.u32(_VOCABULARY),
        "tokenizer.ggml.model": writer.text("no_vocab"),
    }


def _tensors() -> list[tuple[str, tuple[int, ...], GgmlType]]:
    tensors: list[tuple[str, tuple[int, ...], GgmlType]] = [
        ("token_embd.weight", (_WIDTH, _VOCABULARY), _Q8_0),
        ("output_norm.weight", (_WIDTH,), _F32),
        ("output.weight", (_WIDTH, _VOCABULARY), _Q8_0),
    ]
    for layer in range(2):
        block = f"blk.{layer}."
        tensors += [
            (f"{block}attn_norm.weight", (_WIDTH,), _F32),
            (f"{block}ffn_norm.weight", (_WIDTH,), _F32),
            (f"{block}attn_q.weight", (_WIDTH, _WIDTH), _Q8_0),
            (f"{block}attn_k.weight", (_WIDTH, 128), _Q8_0),
            (f"{block}attn_v.weight", (_WIDTH, 128), _Q8_0),
            (f"{block}attn_output.weight", (_WIDTH, _WIDTH), _Q8_0),
            (f"{block}ffn_gate_inp.weight", (_WIDTH, _EXPERTS), _F32),
            (f"{block}ffn_gate_exps.weight", (_WIDTH, _FEED_FORWARD, _EXPERTS), _Q8_0),
            (f"{block}ffn_up_exps.weight", (_WIDTH, _FEED_FORWARD, _EXPERTS), _Q8_0),
            (f"{block}ffn_down_exps.weight", (_FEED_FORWARD, _WIDTH, _EXPERTS), _Q8_0),
        ]
    return tensors


def _weights(generator: random.Random, shape: tuple[int, ...], kind: GgmlType) -> bytes:
    """Norms are ones, the router small random floats, all else blocks of a half-precision scale and 32 random bytes."""
    count = 1
    for size in shape:
        count *= size
    if kind == _F32:
        values = [1.0] * count if len(shape) == 1 else [generator.uniform(-0.1, 0.1) for _ in range(count)]
        return struct.pack(f"<{count}f", *values)
    scale = struct.pack("<e", 0.0008)
    raw = generator.randbytes(count)
    return b"".join(scale + raw[start : start + _BLOCK] for start in range(0, count, _BLOCK))
