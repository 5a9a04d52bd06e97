from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from struct import pack

import pytest

from mixchat.errors import BadHeader, TruncatedHeader
from mixchat.gguf.header import Header, parse_header
from mixchat.gguf.types import TYPES
from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import Typed, array, f32, flag, header_bytes, scalar, text, texts, u32

METADATA = {
    "general.architecture": text("llama"),
    "general.name": text("Ein Modell mit ß und 🙂"),
    "a.flag": flag(True),
    "a.float": f32(0.5),
    "a.count": u32(8),
    "a.negative": scalar(ValueType.INT32, -7),
    "a.names": texts(["", "<s>", "▁the"]),
    "a.flags": array(ValueType.BOOL, [True, False]),
    "a.scores": array(ValueType.FLOAT32, [0.5, -1.5]),
    "a.counts": array(ValueType.UINT32, [1, 2, 3]),
    "a.nothing": texts([]),
    "a.none": array(ValueType.UINT8, []),
}
TENSORS = [
    ("first", (32, 3), TYPES["Q8_0"]),
    ("second", (5,), TYPES["F32"]),
    ("third", (2, 2, 2, 2), TYPES["F16"]),
    ("scalar", (), TYPES["F32"]),
]


@pytest.fixture
def small() -> bytes:
    return header_bytes(METADATA, TENSORS)


def test_reads_what_is_there(small: bytes) -> None:
    header = parse_header(small)
    assert header.version == 3
    assert header.alignment == 32
    assert header.data_offset == len(small)
    assert dict(header.metadata) == {key: typed.value for key, typed in METADATA.items()}
    assert [(tensor.name, tensor.shape, tensor.type) for tensor in header.tensors] == TENSORS
    assert [(tensor.offset, tensor.nbytes) for tensor in header.tensors] == [(0, 102), (128, 20), (160, 32), (192, 4)]
    assert header.file_bytes == len(small) + 196


def test_bools_are_bools(small: bytes) -> None:
    metadata = parse_header(small).metadata
    assert metadata["a.flag"] is True
    assert metadata["a.flags"] == (True, False)
    assert metadata["a.count"] is not True


@pytest.mark.parametrize("kind", [bytes, memoryview, lambda data: memoryview(data).cast("b")])
def test_takes_bytes_and_views(small: bytes, kind: Callable[[bytes], bytes | memoryview]) -> None:
    assert parse_header(kind(small)) == parse_header(small)


def test_version_2_has_the_same_layout(small: bytes) -> None:
    header = parse_header(b"GGUF" + pack("<I", 2) + small[8:])
    assert header.version == 2
    assert header.tensors == parse_header(small).tensors


def test_bytes_after_the_header_are_left_alone(small: bytes) -> None:
    assert parse_header(small + b"\xff" * 100) == parse_header(small)


def test_padding_is_not_needed(small: bytes) -> None:
    assert parse_header(small.rstrip(b"\0") + bytes(8)).data_offset == len(small)


def test_metadata_cannot_be_changed(small: bytes) -> None:
    with pytest.raises(TypeError):
        parse_header(small).metadata["new"] = 1  # type: ignore[index]


def test_text_that_is_no_utf8_is_replaced() -> None:
    data = header_bytes({"key": text("abc")}, []).replace(b"abc", b"a\xffc")
    assert parse_header(data).metadata["key"] == "a\ufffdc"


def test_a_file_without_tensors() -> None:
    header = parse_header(header_bytes({}, []), file_size=24)
    assert (header.tensors, header.data_offset, header.file_bytes) == ((), 32, 32)


def test_an_own_alignment() -> None:
    header = parse_header(header_bytes({}, TENSORS, alignment=256))
    assert (header.alignment, header.data_offset % 256) == (256, 0)
    assert [tensor.offset for tensor in header.tensors] == [0, 256, 512, 768]


def test_cut_at_every_byte(small: bytes) -> None:
    """Each need is more than there is, no more than the header has, and reading on by the needs ends."""
    whole = small.rstrip(b"\0")
    ended = [length for length in range(len(small)) if _need(small, length) is None]
    assert ended[0] >= len(whole)
    assert ended == list(range(ended[0], len(small)))
    for length in range(ended[0]):
        need = _need(small, length)
        assert need is not None
        assert length < need <= ended[0]


def test_cut_at_every_byte_with_the_size_known(small: bytes) -> None:
    size = parse_header(small).file_bytes
    assert [_need(small, length, size) for length in range(200)] == [_need(small, length) for length in range(200)]


def _need(data: bytes, length: int, file_size: int | None = None) -> int | None:
    try:
        parse_header(data[:length], file_size)
    except TruncatedHeader as short:
        return short.need
    return None


def test_a_cut_says_what_there_is(small: bytes) -> None:
    with pytest.raises(TruncatedHeader) as caught:
        parse_header(small[:100])
    assert caught.value.have == 100
    assert caught.value.exit_code == 5


def test_the_first_need_is_the_fixed_part() -> None:
    assert _need(b"", 0) == _need(b"GG", 2) == _need(b"GGUF\3\0\0", 7) == 24


@pytest.mark.parametrize(("missing", "fits"), [(-1, True), (0, True), (1, False), (10**6, False)])
def test_tensors_end_inside_the_file(small: bytes, missing: int, *, fits: bool) -> None:
    size = parse_header(small).file_bytes - missing
    if fits:
        assert parse_header(small, size).file_bytes == size + missing
        return
    with pytest.raises(BadHeader, match=f"cut off: it has {size} bytes and needs {size + missing}"):
        parse_header(small, size)


@pytest.fixture
def header(small: bytes) -> Header:
    return parse_header(small)


def test_getters(header: Header) -> None:
    assert header.integer("a.count") == 8
    assert header.integer("a.negative") == -7
    assert header.integer("a.missing", 3) == 3
    assert header.integers("a.counts") == (1, 2, 3)
    assert header.integers("a.count") == (8,)
    assert header.integers("a.missing", (4,)) == (4,)
    assert header.text("general.architecture") == "llama"
    assert header.text("a.missing", "other") == "other"


@pytest.mark.parametrize("getter", [Header.integer, Header.integers, Header.text])
def test_a_missing_key_is_named(header: Header, getter: Callable[[Header, str], object]) -> None:
    with pytest.raises(BadHeader) as caught:
        getter(header, "llama.block_count")
    assert caught.value.message == "The metadata lacks llama.block_count."


@pytest.mark.parametrize(
    ("getter", "key", "cause"),
    [
        (Header.integer, "a.float", "is not a whole number"),
        (Header.integer, "a.flag", "is not a whole number"),
        (Header.integer, "a.counts", "is not a whole number"),
        (Header.integers, "a.names", "is not made of whole numbers"),
        (Header.integers, "a.flags", "is not made of whole numbers"),
        (Header.text, "a.count", "is not a text"),
    ],
)
def test_a_value_of_the_wrong_type(
    header: Header, getter: Callable[[Header, str], object], key: str, cause: str
) -> None:
    with pytest.raises(BadHeader, match=f"The metadata's {key} {cause}"):
        getter(header, key)


def test_a_large_vocabulary_is_read_quickly() -> None:
    count = 150_000
    metadata: dict[str, Typed] = {
        "tokens": texts(f"token{index}" for index in range(count)),
        "merges": texts(f"to ken{index}" for index in range(count)),
        "scores": array(ValueType.FLOAT32, [-1.0] * count),
        "types": array(ValueType.INT32, range(count)),
    }
    data = header_bytes(metadata, [])
    header = parse_header(data)
    assert header.metadata["types"] == tuple(range(count))
    assert header.metadata["tokens"] == metadata["tokens"].value


def test_reads_what_the_gguf_package_writes(tmp_path: Path) -> None:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

    path = tmp_path / "theirs.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_token_list(["<s>", "a"])
    writer.add_token_scores([0.0, -1.5])
    writer.add_add_bos_token(value=True)
    writer.add_tensor("matrix", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.add_tensor("blocks", np.zeros((5, 68), dtype=np.uint8), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    header = parse_header(data, len(data))
    assert header.text("general.architecture") == "llama"
    assert header.integer("llama.block_count") == 2
    assert header.metadata["tokenizer.ggml.tokens"] == ("<s>", "a")
    assert header.metadata["tokenizer.ggml.scores"] == (0.0, -1.5)
    assert header.metadata["tokenizer.ggml.add_bos_token"] is True
    assert [(tensor.name, tensor.shape, tensor.type.name) for tensor in header.tensors] == [
        ("matrix", (4, 3), "F32"),
        ("blocks", (64, 5), "Q8_0"),
    ]
    start = header.data_offset
    assert data[start : start + 48] == np.arange(12, dtype=np.float32).tobytes()
    assert all(before.offset + before.nbytes <= after.offset for before, after in pairwise(header.tensors))


def test_any_byte_but_zero_is_true_as_in_llama_cpp(small: bytes) -> None:
    at = small.index(b"a.flag") + len(b"a.flag") + 4
    assert small[at] == 1
    metadata = parse_header(small[:at] + b"\xfe" + small[at + 1 :]).metadata
    assert metadata["a.flag"] is True
