"""Headers that must be refused, llama.cpp's own list of them among them, and the good ones beside them."""

from collections.abc import Sequence
from random import Random
from struct import pack

import pytest

from mixchat.errors import BadHeader, BadModel, NotGguf, TruncatedHeader, UnsupportedVersion
from mixchat.gguf.header import parse_header
from mixchat.gguf.types import TYPES
from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import array, header_bytes, scalar, text, texts, u32

I8, F32 = TYPES["I8"].id, TYPES["F32"].id


def raw(
    values: Sequence[bytes] = (), tensors: Sequence[bytes] = (), *, n_values: int | None = None, n_tensors: int = -1
) -> bytes:
    """A header made of raw pieces, whose counts may lie."""
    count = len(tensors) if n_tensors < 0 else n_tensors
    start = b"GGUF" + pack("<IQQ", 3, count, len(values) if n_values is None else n_values)
    return start + b"".join(values) + b"".join(tensors) + bytes(32)


def string(content: bytes, length: int | None = None) -> bytes:
    return pack("<Q", len(content) if length is None else length) + content


def value(key: bytes, kind: int, content: bytes) -> bytes:
    return string(key) + pack("<I", kind) + content


def tensor(name: bytes, shape: Sequence[int], kind: int = F32, offset: int = 0) -> bytes:
    return string(name) + pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def alignment(number: int, kind: ValueType = ValueType.UINT32) -> bytes:
    return value(b"general.alignment", kind, pack("<I", number))


NOTHING = bytes(16)
HUGE = 2**64 - 1

BAD = {
    "too many tensors": (raw(n_tensors=20_001), "announces 20001 tensors"),
    "tensor count -1": (raw(n_tensors=HUGE), "tensors; the limit is 20000"),
    "too many values": (raw(n_values=4097), "announces 4097 metadata values"),
    "value count -1": (raw(n_values=HUGE), "metadata values; the limit is 4096"),
    "key size": (raw([string(b"key", HUGE)]), "bytes of text"),
    "empty key": (raw([value(b"", 0, b"\0")]), "empty key"),
    "value type": (raw([value(b"key", 13, b"\0")]), "unknown type 13"),
    "item type": (raw([value(b"key", 9, pack("<IQ", 99, 0))]), "unknown type 99"),
    "duplicate key": (raw([value(b"key", 0, b"\0")] * 2), "key 'key' twice"),
    "duplicate long key": (raw([value(b"k" * 9999, 0, b"\0")] * 2), "key 'k{80}' twice"),
    "alignment 13": (raw([alignment(13)]), "alignment of 13 is not a power of two"),
    "alignment 0": (raw([alignment(0)]), "alignment of 0 "),
    "alignment 8192": (raw([alignment(8192)]), "alignment of 8192 "),
    "alignment of another type": (raw([alignment(32, ValueType.INT32)]), "type INT32 instead of UINT32"),
    "long string": (raw([value(b"key", 8, pack("<Q", (8 << 20) + 1))]), "announces 8388609 bytes of text"),
    "long string in an array": (
        raw([value(b"key", 9, pack("<IQQ", 8, 1, (8 << 20) + 1))]),
        "announces 8388609 bytes of text",
    ),
    "long array": (raw([value(b"key", 9, pack("<IQ", 0, (1 << 20) + 1))]), "announces 1048577 array items"),
    "array of arrays": (raw([value(b"key", 9, pack("<IQIQ", 9, 1, 0, 0))]), "array of arrays"),
    "tensor name size": (raw(tensors=[tensor(b"n" * 64, [1])]), "announces 64 bytes of a tensor's name"),
    "five dimensions": (raw(tensors=[tensor(b"t", [1] * 5)]), "'t' has 5 dimensions"),
    "dimension -1": (raw(tensors=[tensor(b"t", [HUGE])]), "impossible shape"),
    "dimension 0 beside too many": (raw(tensors=[tensor(b"t", [2**33, 0, 2**33])]), "impossible shape"),
    "too many elements": (raw(tensors=[tensor(b"t", [2**33, 2**33])]), "impossible shape"),
    "too many bytes": (raw(tensors=[tensor(b"t", [2**31, 2**31], TYPES["I64"].id)]), "past 2"),
    "bytes that wrap when padded": (raw(tensors=[tensor(b"t", [4, 2**30 - 1, 2**30 + 1])]), "past 2"),
    "sum of bytes that wraps": (
        raw(tensors=[tensor(b"a", [2**63 - 64], I8), tensor(b"b", [2**63 - 64], I8, 2**63 - 64)]),
        "'b' ends past 2",
    ),
    "tensor type": (raw(tensors=[tensor(b"t", [1], 43)]), "type 43 is unknown"),
    "removed tensor type": (raw(tensors=[tensor(b"t", [32], 4)]), "Q4_2 was removed"),
    "broken row": (raw(tensors=[tensor(b"t", [33], TYPES["Q8_0"].id)]), "whole number of Q8_0 blocks"),
    "offset -1": (raw(tensors=[tensor(b"t", [1], F32, HUGE)]), "instead of 0"),
    "gap before the first": (raw(tensors=[tensor(b"t", [1], F32, 32)]), "starts at 32 instead of 0"),
    "overlap": (raw(tensors=[tensor(b"a", [9]), tensor(b"b", [1], F32, 32)]), "'b' starts at 32 instead of 64"),
    "gap": (raw(tensors=[tensor(b"a", [8]), tensor(b"b", [1], F32, 64)]), "'b' starts at 64 instead of 32"),
    "unaligned": (raw(tensors=[tensor(b"a", [1]), tensor(b"b", [1], F32, 4)]), "'b' starts at 4 instead of 32"),
    "duplicate name": (raw(tensors=[tensor(b"t", [8]), tensor(b"t", [8], F32, 32)]), "'t' is there twice"),
    "tensors with alignment 13": (raw([alignment(13)], [tensor(b"t", [1])]), "alignment of 13"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_the_cause(name: str) -> None:
    data, cause = BAD[name]
    with pytest.raises(BadHeader, match=cause) as caught:
        parse_header(data)
    assert caught.value.exit_code == 5
    assert caught.value.hint


GOOD = {
    "empty": raw(),
    "padded": raw() + bytes(96),
    "one value": raw([value(b"key", 0, b"\7")]),
    "a string of no length": raw([value(b"key", 8, string(b""))]),
    "a string with a NUL": raw([value(b"key", 8, string(b"a\0b"))]),
    "alignment 1": raw([alignment(1)], [tensor(b"a", [1]), tensor(b"b", [1], F32, 4)]),
    "alignment 4096": raw([alignment(4096)], [tensor(b"a", [1]), tensor(b"b", [1], F32, 4096)]),
    "two tensors": raw(tensors=[tensor(b"a", [9]), tensor(b"b", [1], F32, 64)]),
    "a name of 63 bytes": raw(tensors=[tensor(b"n" * 63, [1])]),
    "four dimensions": raw(tensors=[tensor(b"t", [32, 2, 3, 4], TYPES["Q4_0"].id)]),
    "dimension 0": raw(tensors=[tensor(b"t", [32, 0]), tensor(b"u", [1])]),
    "largest size": raw(tensors=[tensor(b"t", [2**63 - 64], I8)]),
}


@pytest.mark.parametrize("name", GOOD)
def test_accepted(name: str) -> None:
    assert parse_header(GOOD[name]).version == 3


@pytest.mark.parametrize("start", [b"FUGG", b"GGML", b"<htm", b"PK\3\4", bytes(4)])
def test_another_file(start: bytes) -> None:
    with pytest.raises(NotGguf) as caught:
        parse_header(start + raw()[4:])
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("start", [b"F", b"GX", b"GGU?", b"<html>"])
def test_a_short_file_of_another_kind(start: bytes) -> None:
    with pytest.raises(NotGguf):
        parse_header(start)


@pytest.mark.parametrize(
    ("field", "cause"),
    [
        (pack("<I", 0), "version 0 is not supported"),
        (pack("<I", 1), "version 1 is not supported"),
        (pack("<I", 4), "version 4 is not supported"),
        (pack(">I", 1), "big endian"),
        (pack(">I", 2), "big endian"),
        (pack(">I", 3), "big endian"),
    ],
)
def test_another_version(field: bytes, cause: str) -> None:
    with pytest.raises(UnsupportedVersion, match=cause):
        parse_header(b"GGUF" + field + NOTHING)


def test_the_limits_are_reached() -> None:
    names = [f"t{index}" for index in range(20_000)]
    many = header_bytes({}, [(name, (8,), TYPES["F32"]) for name in names])
    assert len(parse_header(many).tensors) == 20_000
    values = header_bytes({f"k{index}": u32(index) for index in range(4096)}, [])
    assert len(parse_header(values).metadata) == 4096
    long = header_bytes({"a": array(ValueType.UINT8, bytes(1 << 20)), "s": text("x" * (8 << 20))}, [])
    assert {key: len(str(found)) > 1 << 20 for key, found in parse_header(long).metadata.items()} == {
        "a": True,
        "s": True,
    }


def test_a_short_array_of_strings_asks_for_all_their_lengths() -> None:
    with pytest.raises(TruncatedHeader) as caught:
        parse_header(raw([value(b"key", 9, pack("<IQ", 8, 1000))]))
    assert caught.value.need == 24 + 8 + 3 + 4 + 12 + 8 * 1000


def test_mutations_are_refused_or_read() -> None:
    """Whatever one byte, one run of bytes or a cut does, the answer is a header or an expected error."""
    good = header_bytes(
        {
            "general.architecture": text("llama"),
            "tokens": texts(["a", "bc", ""]),
            "flags": array(ValueType.BOOL, [True, False]),
            "big": scalar(ValueType.UINT64, 2**63),
        },
        [("token_embd.weight", (32, 4), TYPES["Q8_0"]), ("output.weight", (32, 4), TYPES["F16"])],
        alignment=64,
    )
    assert len(parse_header(good).tensors) == 2
    random = Random(20_402)
    causes: set[type[BadModel]] = set()
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(random.choice((1, 1, 2, 8))):
            at = random.randrange(len(data))
            data[at : at + random.choice((1, 1, 4, 8))] = random.randbytes(random.choice((0, 1, 1, 4, 8)))
        try:
            parse_header(bytes(data[: random.choice((None, random.randrange(len(good))))]), len(data))
        except BadModel as error:
            causes.add(type(error))
    assert causes == {BadHeader, NotGguf, TruncatedHeader, UnsupportedVersion}
