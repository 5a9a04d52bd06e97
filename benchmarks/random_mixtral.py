"""Write a Mixtral 8x7B of random weights: the real one's shapes and types, any number of layers, no download.

Its speed is the real one's, its answers are noise: the router is random too, so all experts are chosen about equally
often. The vocabulary is Mixtral's own, from the wheel of mistral-common. Blocks of weights repeat; 17 GB take as long
as the disk needs.

    python benchmarks/random_mixtral.py --quant Q2_K --layers 32 mixtral.gguf
"""

import argparse
import random
import struct
import tempfile
from array import array
from functools import cache
from pathlib import Path
from typing import BinaryIO

from mixchat.gguf import writer
from mixchat.gguf.header import Header, TensorInfo, parse_header
from mixchat.gguf.types import TYPES
from mixchat.gguf.values import ValueType
from tests import builders, mistral_vocab

_CHUNK = 1 << 23
_QUANTS = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0", "IQ2_XXS", "IQ4_XS")
_SCALES = {
    "Q2_K": {80: 0.002, 82: 0.003},
    "Q3_K": {108: 0.0002},
    "Q4_K": {0: 0.0001, 2: 0.0008},
    "Q5_K": {0: 0.00005, 2: 0.0008},
    "Q6_K": {208: 0.00002},
    "Q8_0": {0: 0.0003},
    "IQ2_XXS": {0: 0.0005},
    "IQ4_XS": {0: 0.00002},
}
"""Where the half-precision scales of a type's blocks lie, and values that keep weights near 0.02."""


def write(path: Path, quant: str, layers: int) -> None:
    """Write the model.

    Args:
        path: Where to.
        quant: One of the quantizations of `tests.builders.QUANTS`, without the maker's name.
        layers: The real one has 32.
    """
    name = next(each for each in builders.QUANTS if each.endswith(f"/{quant}") and "legacy" not in each)
    plain = parse_header(builders.mixtral_header(name, layers))
    specs = [(tensor.name, tensor.shape, tensor.type) for tensor in plain.tensors]
    metadata = builders._mixtral_metadata(quant, layers)  # noqa: SLF001 - the same header, with a vocabulary
    header = writer.header_bytes(metadata | _vocabulary(), specs)
    with path.open("wb") as file:
        file.write(header)
        for tensor in parse_header(header).tensors:
            file.seek(len(header) + tensor.offset)
            _write(file, tensor)


def _write(file: BinaryIO, tensor: TensorInfo) -> None:
    if tensor.type.name == "F32":
        file.write(_floats(tensor))
        return
    chunk = _blocks(tensor.type.name)
    file.writelines(chunk[: tensor.nbytes - start] for start in range(0, tensor.nbytes, len(chunk)))


def _floats(tensor: TensorInfo) -> bytes:
    """Norms are ones; the router is random, each layer's its own."""
    count = tensor.nbytes // 4
    if "norm" in tensor.name:
        return struct.pack("<f", 1.0) * count
    draw = random.Random(tensor.name)
    return array("f", (draw.gauss(0, 0.02) for _ in range(count))).tobytes()


@cache
def _blocks(kind: str) -> bytes:
    """About 8 MB of random blocks with small scales, which differ as real ones do: kernels look them up in a table."""
    size = TYPES[kind].nbytes
    count = _CHUNK // size
    draw = random.Random(kind)
    data = bytearray(draw.randbytes(count * size))
    for place, scale in _SCALES[kind].items():
        scales = struct.pack(f"<{count}e", *(draw.uniform(0.5 * scale, 1.5 * scale) for _ in range(count)))
        data[place::size] = scales[::2]
        data[place + 1 :: size] = scales[1::2]
    return bytes(data)


def _vocabulary() -> dict[str, writer.Typed]:
    with tempfile.TemporaryDirectory() as folder:
        header = parse_header(mistral_vocab.write_vocab(Path(folder, "vocab.gguf")).read_bytes())
    return {key: _typed(header, key) for key in header.metadata if key.startswith("tokenizer.")}


def _typed(header: Header, key: str) -> writer.Typed:
    value = header.metadata[key]
    match value:
        case bool():
            return writer.flag(value)
        case int():
            return writer.u32(value)
        case str():
            return writer.text(value)
        case (str(), *_):
            return writer.texts(value)
        case (float(), *_):
            return writer.array(ValueType.FLOAT32, value)
        case _:
            return writer.array(ValueType.INT32, value)


def main() -> None:
    """Read the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--quant", choices=_QUANTS, default="Q4_K_M")
    parser.add_argument("--layers", type=int, default=2)
    options = parser.parse_args()
    write(options.path, options.quant, options.layers)


if __name__ == "__main__":
    main()
