from pathlib import Path
from struct import pack, unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import BadHeader
from mixchat.gguf.header import MAX_NAME_BYTES, parse_header
from mixchat.gguf.types import TYPES, nbytes
from mixchat.gguf.values import CODES, MetadataValue, Scalar, ValueType
from mixchat.gguf.writer import TensorSpec, Typed, array, f32, flag, header_bytes, scalar, text, texts, u32

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=15)


def _scalars(kind: ValueType) -> st.SearchStrategy[Scalar]:
    if kind is ValueType.STRING:
        return st.text(st.characters(exclude_categories=["Cs"]))
    if kind is ValueType.BOOL:
        return st.booleans()
    if kind in {ValueType.FLOAT32, ValueType.FLOAT64}:
        return st.floats(width=32 if kind is ValueType.FLOAT32 else 64, allow_nan=False)
    code = CODES[kind]
    size = 8 * len(pack(f"<{code}", 0))
    low, high = (0, 2**size - 1) if code.isupper() else (-(2 ** (size - 1)), 2 ** (size - 1) - 1)
    return st.integers(low, high)


def _typed(kind: ValueType) -> st.SearchStrategy[Typed]:
    single = _scalars(kind).map(lambda value: scalar(kind, value))
    return single | st.lists(_scalars(kind), max_size=5).map(lambda values: array(kind, values))


METADATA = st.dictionaries(
    NAMES,
    st.sampled_from([kind for kind in ValueType if kind is not ValueType.ARRAY]).flatmap(_typed),
    max_size=6,
)


@st.composite
def _tensor_lists(draw: st.DrawFn) -> list[TensorSpec]:
    names = draw(st.lists(NAMES, unique=True, max_size=6))
    specs: list[TensorSpec] = []
    for name in names:
        kind = draw(st.sampled_from(list(TYPES.values())))
        rest = draw(st.lists(st.integers(1, 7), max_size=3))
        specs.append((name, (draw(st.integers(1, 4)) * kind.elements, *rest), kind))
    return specs


def _same(ours: MetadataValue, theirs: MetadataValue) -> bool:
    return ours == theirs and type(ours) is type(theirs)


@given(METADATA, _tensor_lists(), st.integers(0, 12))
def test_parsing_gives_back_what_was_written(
    metadata: dict[str, Typed], tensors: list[TensorSpec], exponent: int
) -> None:
    alignment = 2**exponent
    data = header_bytes(metadata, tensors, alignment)
    header = parse_header(data)
    assert header.alignment == alignment
    assert header.data_offset == len(data)
    assert metadata.keys() == header.metadata.keys() - ({"general.alignment"} if alignment != 32 else set())
    assert all(_same(header.metadata[key], typed.value) for key, typed in metadata.items())
    assert [(tensor.name, tensor.shape, tensor.type) for tensor in header.tensors] == tensors
    assert [tensor.nbytes for tensor in header.tensors] == [nbytes(kind, shape) for _, shape, kind in tensors]


def test_the_gguf_package_reads_it(tmp_path: Path) -> None:
    from gguf import GGUFReader

    path = tmp_path / "ours.gguf"
    metadata = {
        "general.architecture": text("llama"),
        "llama.block_count": u32(2),
        "eps": f32(0.25),
        "yes": flag(True),
        "tokens": texts(["<s>", "ß"]),
        "scores": array(ValueType.FLOAT32, [0.5, -2.0]),
    }
    tensors = [("first", (3, 2), TYPES["F32"]), ("second", (32, 2), TYPES["Q8_0"])]
    data = header_bytes(metadata, tensors)
    numbers = pack("<6f", *range(6)).ljust(32, b"\0")
    path.write_bytes(data + numbers + bytes(range(68)))
    reader = GGUFReader(path)
    found = {key: reader.fields[key].contents() for key in metadata}
    assert found == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "eps": 0.25,
        "yes": True,
        "tokens": ["<s>", "ß"],
        "scores": [0.5, -2.0],
    }
    first, second = reader.tensors
    assert (first.name, first.shape.tolist(), first.data.flatten().tolist()) == (
        "first",
        [3, 2],
        [*map(float, range(6))],
    )
    assert (second.name, second.tensor_type.name, second.data.tobytes()) == ("second", "Q8_0", bytes(range(68)))


def test_the_bytes_themselves() -> None:
    data = header_bytes({"k": u32(7)}, [("t", (2,), TYPES["F16"])])
    assert data[:4] == b"GGUF"
    assert unpack("<IQQ", data[4:24]) == (3, 1, 1)
    assert unpack("<QcII", data[24:41]) == (1, b"k", 4, 7)
    assert unpack("<QcIQIQ", data[41 : 41 + 33]) == (1, b"t", 1, 2, 1, 0)
    assert len(data) == 96
    assert not any(data[74:])


def test_a_row_is_whole_blocks() -> None:
    with pytest.raises(BadHeader):
        header_bytes({}, [("t", (33,), TYPES["Q8_0"])])


def test_the_longest_name() -> None:
    data = header_bytes({}, [("n" * MAX_NAME_BYTES, (1,), TYPES["F32"])])
    assert len(parse_header(data).tensors[0].name) == MAX_NAME_BYTES
