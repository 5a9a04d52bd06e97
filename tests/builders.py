"""Writes the GGUF files that tests need: Mixtral's real headers, and tiny models that llama.cpp loads."""

import json
from array import array as numbers
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from struct import pack
from typing import Literal, TypedDict

from mixchat.gguf.header import METADATA_START, align, parse_header
from mixchat.gguf.types import TYPES
from mixchat.gguf.writer import TensorSpec, Typed, f32, header_around, header_bytes, text, u32

QUANTS = (
    "static/Q2_K",
    "static/Q3_K_M",
    "static/Q4_K_M",
    "static/Q5_K_M",
    "static/Q8_0",
    "i1/IQ2_XXS",
    "i1/IQ4_XS",
    "thebloke-legacy/Q4_K_M",
)
"""The quantizations of Mixtral 8x7B that `data/mixtral_sizes.json` knows."""

_HEADERS = {
    "static": "mradermacher static",
    "i1": "mradermacher i1",
    "thebloke-legacy": "TheBloke legacy (Q4_K_M)",
}
_FILE_TYPES = {"Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17, "Q8_0": 7, "IQ2_XXS": 19, "IQ4_XS": 30}
_FILLER = "test.filler"


class QuantSizes(TypedDict):
    """Bytes and types of one quantization, as recorded from the real file."""

    data_bytes: int
    experts_bytes: int
    non_expert_bytes: int
    active_bytes_per_token: int
    groups: dict[str, int]
    types: dict[str, dict[str, int]]
    layer_bytes_distinct: list[int]
    expert_bytes_distinct: list[int]
    layers_with_big_down: list[int]
    predicted_file_bytes: int


class MixtralSizes(TypedDict):
    """`data/mixtral_sizes.json`."""

    arch: dict[str, int]
    header_bytes: dict[str, int]
    quants: dict[str, QuantSizes]


def mixtral_sizes() -> MixtralSizes:
    """The recorded sizes of the real files."""
    sizes: MixtralSizes = json.loads((Path(__file__).parent / "data" / "mixtral_sizes.json").read_text())
    return sizes


def mixtral_header_bytes(quant: str) -> int:
    """Bytes of the real file's header, up to its data section."""
    return mixtral_sizes()["header_bytes"][_HEADERS[quant.split("/", maxsplit=1)[0]]]


def mixtral_header(quant: str, layers: int = 32) -> bytes:
    """The header of a real Mixtral 8x7B file, filled up to the recorded length.

    Args:
        quant: One of QUANTS.
        layers: Fewer give a smaller model of the same width.
    """
    sizes = mixtral_sizes()["quants"][quant]
    legacy = quant.startswith("thebloke-legacy")
    tensors = _mixtral_tensors(sizes, layers, legacy=legacy)
    metadata = _mixtral_metadata(quant.split("/")[1], layers)
    bare = len(header_bytes({**metadata, _FILLER: text("")}, tensors))
    return header_bytes({**metadata, _FILLER: text("x" * (mixtral_header_bytes(quant) - bare))}, tensors)


def _mixtral_metadata(quant: str, layers: int) -> dict[str, Typed]:
    return {
        "general.architecture": text("llama"),
        "general.name": text("Mixtral 8x7B Instruct v0.1"),
        "general.file_type": u32(_FILE_TYPES[quant]),
        **_llama_metadata(
            {
                "context_length": 32768,
                "embedding_length": 4096,
                "block_count": layers,
                "feed_forward_length": 14336,
                "attention.head_count": 32,
                "attention.head_count_kv": 8,
                "rope.dimension_count": 128,
                "expert_count": 8,
                "expert_used_count": 2,
                "vocab_size": 32000,
            }
        ),
    }


def _llama_metadata(sizes: Mapping[str, int]) -> dict[str, Typed]:
    """Keys that llama.cpp wants of the architecture `llama`, and a tokenizer that knows no words."""
    return {
        **{f"llama.{key}": u32(value) for key, value in sizes.items()},
        "llama.rope.freq_base": f32(1e6),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "tokenizer.ggml.model": text("no_vocab"),
    }


def _mixtral_tensors(sizes: QuantSizes, layers: int, *, legacy: bool) -> list[TensorSpec]:
    def spec(name: str, group: str, *shape: int, big: bool = False) -> TensorSpec:
        found = sorted((TYPES[kind] for kind in sizes["types"][group]), key=lambda kind: kind.nbytes / kind.elements)
        return f"{name}.weight", shape, found[-1 if big else 0]

    tensors = [spec("token_embd", "token_embd", 4096, 32000), spec("output", "output", 4096, 32000)]
    tensors.append(spec("output_norm", "norms", 4096))
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += [spec(f"{block}.{norm}", "norms", 4096) for norm in ("attn_norm", "ffn_norm")]
        tensors += [spec(f"{block}.{part}", part, 4096, 4096) for part in ("attn_q", "attn_output")]
        tensors += [spec(f"{block}.{part}", part, 4096, 1024) for part in ("attn_k", "attn_v")]
        tensors.append(spec(f"{block}.ffn_gate_inp", "router", 4096, 8))
        for part, rows in (("gate", (4096, 14336)), ("up", (4096, 14336)), ("down", (14336, 4096))):
            big = part == "down" and layer in sizes["layers_with_big_down"]
            group = f"ffn_{part}_exps"
            if legacy:
                tensors += [spec(f"{block}.ffn_{part}.{expert}", group, *rows, big=big) for expert in range(8)]
            else:
                tensors.append(spec(f"{block}.{group}", group, *rows, 8, big=big))
    return tensors


@dataclass(frozen=True, slots=True)
class Tiny:
    """Shape of a tiny mixture-of-experts model.

    Attributes:
        width: A multiple of 256, so that every quantization's blocks fit.
        weight: Type of the matrices; norms and routers are F32.
        words: The vocabulary's size.
    """

    layers: int = 2
    experts: int = 4
    used: int = 2
    width: int = 256
    feed_forward: int = 256
    heads: int = 4
    kv_heads: int = 2
    context: int = 512
    words: int = 256
    weight: Literal["F16", "Q8_0", "Q4_K", "Q6_K"] = "F16"


def tiny_moe(path: Path, shape: Tiny | None = None, seed: int = 0, extra: Mapping[str, Typed] | None = None) -> Path:
    """Write a complete model of Mixtral's layout with random weights; the same seed gives the same bytes.

    Its tokenizer knows no words: it is good for logits, not for text.

    Args:
        path: Where to write.
        shape: Its shape.
        seed: Of the weights.
        extra: Metadata to add or to replace.
    """
    shape = shape or Tiny()
    tensors = _tiny_tensors(shape)
    header = header_bytes({**_tiny_metadata(shape), **(extra or {})}, tensors)
    random = Random(seed)
    with path.open("wb") as file:
        file.write(header)
        for tensor in parse_header(header).tensors:
            file.seek(len(header) + tensor.offset)
            file.write(_weights(random, tensor.name, tensor.type.name, tensor.nbytes))
    return path


def _tiny_metadata(shape: Tiny) -> dict[str, Typed]:
    sizes = {
        "context_length": shape.context,
        "embedding_length": shape.width,
        "block_count": shape.layers,
        "feed_forward_length": shape.feed_forward,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "rope.dimension_count": shape.width // shape.heads,
        "expert_count": shape.experts,
        "expert_used_count": shape.used,
        "vocab_size": shape.words,
    }
    file_type = {"F16": 1, "Q8_0": 7, "Q4_K": 14, "Q6_K": 18}[shape.weight]
    start = {"general.architecture": text("llama"), "general.name": text("tiny"), "general.file_type": u32(file_type)}
    return {**start, **_llama_metadata(sizes)}


def _tiny_tensors(shape: Tiny) -> list[TensorSpec]:
    weight, exact = TYPES[shape.weight], TYPES["F32"]
    width, hidden = shape.width, shape.feed_forward
    kv_width = width // shape.heads * shape.kv_heads
    tensors: list[TensorSpec] = [
        ("token_embd.weight", (width, shape.words), weight),
        ("output.weight", (width, shape.words), weight),
        ("output_norm.weight", (width,), exact),
    ]
    for block in (f"blk.{layer}" for layer in range(shape.layers)):
        tensors += [(f"{block}.{norm}.weight", (width,), exact) for norm in ("attn_norm", "ffn_norm")]
        tensors += [(f"{block}.{part}.weight", (width, width), weight) for part in ("attn_q", "attn_output")]
        tensors += [(f"{block}.{part}.weight", (width, kv_width), weight) for part in ("attn_k", "attn_v")]
        tensors += [
            (f"{block}.ffn_gate_inp.weight", (width, shape.experts), exact),
            (f"{block}.ffn_gate_exps.weight", (width, hidden, shape.experts), weight),
            (f"{block}.ffn_up_exps.weight", (width, hidden, shape.experts), weight),
            (f"{block}.ffn_down_exps.weight", (hidden, width, shape.experts), weight),
        ]
    return tensors


def _weights(random: Random, name: str, kind: str, size: int) -> bytes:
    if "_norm" in name:
        return pack("<f", 1.0) * (size // 4)
    if kind == "F32":
        return numbers("f", (random.gauss(0, 0.5) for _ in range(size // 4))).tobytes()
    return _f16(random, size) if kind == "F16" else _blocks(random, kind, size)


def _f16(random: Random, size: int) -> bytes:
    """Halves of random sign and mantissa, between 1/64 and 1/8: the upper byte is sign, exponent, 2 mantissa bits."""
    data = bytearray(random.randbytes(size))
    table = bytes(byte & 0x83 | (9 + (byte >> 2 & 0x1F) % 3) << 2 for byte in range(256))
    data[1::2] = data[1::2].translate(table)
    return bytes(data)


def _blocks(random: Random, kind: str, size: int) -> bytes:
    """Random blocks whose scales, the only halves in them, keep the weights near 1/16."""
    scales = {"Q8_0": {0: 0.0008}, "Q4_K": {0: 0.0003, 2: 0.00225}, "Q6_K": {208: 0.00005}}[kind]
    data, block = bytearray(random.randbytes(size)), TYPES[kind].nbytes
    for place, scale in scales.items():
        low, high = pack("<e", scale)
        data[place::block] = bytes([low]) * (size // block)
        data[place + 1 :: block] = bytes([high]) * (size // block)
    return bytes(data)


def legacy_twin(merged: Path, path: Path) -> Path:
    """Write the same model with a tensor for each expert, as converters did before April 2024."""
    data = merged.read_bytes()
    header = parse_header(data)
    specs: list[TensorSpec] = []
    bodies: list[bytes] = []
    for tensor in header.tensors:
        body = data[header.data_offset + tensor.offset :][: tensor.nbytes]
        count = tensor.shape[-1] if "_exps." in tensor.name else 1
        for expert in range(count):
            name = tensor.name.replace("_exps.", f".{expert}.")
            specs.append((name, tensor.shape if count == 1 else tensor.shape[:-1], tensor.type))
            bodies.append(body[len(body) // count * expert :][: len(body) // count])
    values = data[METADATA_START : header.metadata_end]
    start = header_around((header.version, len(header.metadata)), values, specs, header.alignment)
    padded = (body.ljust(align(len(body), header.alignment), b"\0") for body in bodies)
    path.write_bytes(start + b"".join(padded))
    return path


def sparse_file(path: Path, header: bytes, size: int | None = None) -> Path:
    """Write a file of which only the header takes place on the disk.

    Args:
        path: Where to write.
        header: Its first bytes.
        size: Bytes that it seems to have; None takes what the header announces.
    """
    with path.open("wb") as file:
        file.write(header)
        file.truncate(parse_header(header).file_bytes if size is None else size)
    return path
