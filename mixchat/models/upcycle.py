"""Turns a dense model into a mixture of equal experts.

Knows the tensors of llama.cpp's `llama` architecture, dense and mixture, and how a file of them is written; refuses
to know which model it is and where the file goes.

Upcycling is that of arXiv 2212.05055: every feed-forward block is copied into 8 experts, and a new router chooses 2
of them. llama.cpp renormalises the two weights to sum 1 (`norm_w` in its `llama` graph), so equal experts give the
dense block's own output whatever the router says. The router is random, small and always the same: no expert is
much preferred, and which two are chosen differs from token to token.
"""

import random
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from mixchat.errors import BadModel
from mixchat.gguf.header import Header, TensorInfo
from mixchat.gguf.types import ggml_type, nbytes
from mixchat.gguf.values import MetadataValue

N_EXPERTS = 8
N_EXPERTS_USED = 2
_ALIGNMENT = 32
_F32 = ggml_type(0)
_ROUTER_SCALE = 0.02
_FEED_FORWARD = re.compile(r"blk\.(\d+)\.ffn_(gate|up|down)\.weight")


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor of the mixture: the dense one's bytes `copies` times, or the router of `layer`."""

    info: TensorInfo
    dense: TensorInfo | None
    copies: int = 1
    layer: int = 0


def upcycle(header: Header, dense: BinaryIO, out: BinaryIO, name: str) -> Iterator[float]:
    """Write the mixture, one tensor at a time, yielding the fraction written.

    Args:
        header: Of the dense model.
        dense: Its file.
        out: Takes the mixture's file from its first byte on; `write`, `tell` and `flush` are enough.
        name: The mixture's `general.name`.

    Raises:
        BadModel: The model is no dense `llama`.
        ImportError: The `gguf` package is not installed.
    """
    parts = tuple(part for tensor in header.tensors for part in _parts(tensor))
    if header.text("general.architecture") != "llama" or not any(part.dense is None for part in parts):
        raise BadModel("Only a dense model of the llama architecture can be upcycled.", "Use another file.")
    _write_header(_metadata(header, name), parts, out)
    total, done = sum(part.info.nbytes for part in parts), 0
    for part in parts:
        out.write(_content(part, header.data_offset, dense) * part.copies)
        out.write(bytes(-part.info.nbytes % _ALIGNMENT))
        done += part.info.nbytes
        yield done / total


def _parts(tensor: TensorInfo) -> Iterator[_Part]:
    match = _FEED_FORWARD.fullmatch(tensor.name)
    if match is None:
        yield _Part(tensor, tensor)
        return
    layer, role = int(match[1]), match[2]
    if role == "gate":
        shape = (tensor.shape[0], N_EXPERTS)
        router = TensorInfo(f"blk.{layer}.ffn_gate_inp.weight", shape, _F32, 0, nbytes(_F32, shape))
        yield _Part(router, None, layer=layer)
    name, shape3 = f"blk.{layer}.ffn_{role}_exps.weight", (*tensor.shape, N_EXPERTS)
    yield _Part(TensorInfo(name, shape3, tensor.type, 0, tensor.nbytes * N_EXPERTS), tensor, N_EXPERTS)


def _content(part: _Part, data_offset: int, dense: BinaryIO) -> bytes:
    if part.dense is None:
        generator = random.Random(f"router {part.layer}")  # noqa: S311 - the same weights on every machine
        count = part.info.nbytes // _F32.nbytes
        return struct.pack(f"<{count}f", *(generator.uniform(-_ROUTER_SCALE, _ROUTER_SCALE) for _ in range(count)))
    dense.seek(data_offset + part.dense.offset)
    return dense.read(part.dense.nbytes)


def _metadata(header: Header, name: str) -> dict[str, MetadataValue]:
    return {
        **header.metadata,
        "general.name": name,
        "llama.expert_count": N_EXPERTS,
        "llama.expert_used_count": N_EXPERTS_USED,
    }


def _write_header(metadata: Mapping[str, MetadataValue], parts: tuple[_Part, ...], out: BinaryIO) -> None:
    """Write all that stands before the tensors' data, with the `gguf` package."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.gguf_writer import WriterState

    writer = GGUFWriter(None, "llama")
    for key, value in metadata.items():
        if key != "general.architecture":
            writer.add_key_value(key, value, _value_type(value))
    for part in parts:
        shape, kind = tuple(reversed(part.info.shape)), GGMLQuantizationType(part.info.type.id)
        writer.add_tensor_info(part.info.name, shape, np.dtype("float32"), part.info.nbytes, raw_dtype=kind)
    writer.fout, writer.state = [out], WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.write_padding(out, out.tell())


def _value_type(value: MetadataValue) -> int:
    """The type that llama.cpp's converter gives such a value; of an array the package takes STRING or INT32 itself."""
    from gguf import GGUFValueType

    match value:
        case bool():
            kind = GGUFValueType.BOOL
        case int():
            kind = GGUFValueType.UINT32
        case float():
            kind = GGUFValueType.FLOAT32
        case str():
            kind = GGUFValueType.STRING
        case _:
            kind = GGUFValueType.ARRAY
    return int(kind)
