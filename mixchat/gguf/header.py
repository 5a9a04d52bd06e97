"""The header of a GGUF file: its metadata and where its tensors lie.

Knows the file format, versions 2 and 3, and refuses every header that contradicts itself, exceeds a limit or that
llama.cpp would not load; refuses to know what keys and tensor names mean. A header comes from strangers, so every
length in it is checked before it is used.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from mixchat.errors import BadHeader, NotGguf, TruncatedHeader, UnsupportedVersion
from mixchat.gguf.cursor import HINT, Cursor
from mixchat.gguf.types import GgmlType, ggml_type, nbytes
from mixchat.gguf.values import MetadataValue, ValueType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 4096
MAX_METADATA = 4096
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 4
MAX_NAME_BYTES = 63
METADATA_START = 24
"""Bytes of magic, version and the two counts."""

_MAX_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor as the header lists it.

    Attributes:
        name: Unique in its file.
        shape: Elements per dimension, the row length first.
        type: How its elements are stored.
        offset: Bytes from the start of the data section.
        nbytes: Its bytes, without padding.
    """

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says before its tensors' data.

    Attributes:
        version: Of the file format.
        metadata: Values by key, in the file's order; arrays are tuples.
        tensors: In the file's order.
        data_offset: Bytes from the start of the file to the data section.
        alignment: Every tensor's offset is a multiple of it.
        metadata_end: Bytes from the start of the file to the end of the metadata, which begins at METADATA_START.
    """

    version: int
    metadata: Mapping[str, MetadataValue]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    alignment: int
    metadata_end: int

    @property
    def file_bytes(self) -> int:
        """Bytes that a complete file has; a writer may have padded the last tensor up to the alignment."""
        return self.data_offset + max((tensor.offset + tensor.nbytes for tensor in self.tensors), default=0)

    def integer(self, key: str, default: int | None = None) -> int:
        """The whole number at a key.

        Raises:
            BadHeader: The key is missing and no default was given, or the value is no whole number.
        """
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadHeader(f"The metadata's {key} is not a whole number.", HINT)
        return value

    def integers(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """The whole numbers at a key; a single one counts as an array of one.

        Raises:
            BadHeader: The key is missing and no default was given, or a value is no whole number.
        """
        value = self._value(key, default)
        items = value if isinstance(value, tuple) else (value,)
        numbers = tuple(item for item in items if isinstance(item, int) and not isinstance(item, bool))
        if len(numbers) != len(items):
            raise BadHeader(f"The metadata's {key} is not made of whole numbers.", HINT)
        return numbers

    def text(self, key: str, default: str | None = None) -> str:
        """The text at a key.

        Raises:
            BadHeader: The key is missing and no default was given, or the value is no text.
        """
        value = self._value(key, default)
        if not isinstance(value, str):
            raise BadHeader(f"The metadata's {key} is not a text.", HINT)
        return value

    def _value(self, key: str, default: MetadataValue | None) -> MetadataValue:
        value = self.metadata.get(key, default)
        if value is None:
            raise BadHeader(f"The metadata lacks {key}.", HINT)
        return value


def parse_header(data: bytes | memoryview, file_size: int | None = None) -> Header:
    """Read the header of a GGUF file.

    Args:
        data: The file's first bytes; the whole file is not needed.
        file_size: Bytes of the whole file; when given, every tensor must end inside it.

    Raises:
        NotGguf: The first bytes are not GGUF's.
        UnsupportedVersion: Version 1, a version that is not known yet, or a big-endian file.
        TruncatedHeader: The header goes on after the given bytes.
        BadHeader: It contradicts itself or exceeds a limit.
    """
    cursor = Cursor(data)
    version = _version(cursor)
    tensor_count = cursor.count(MAX_TENSORS, "tensors")
    metadata = _metadata(cursor, cursor.count(MAX_METADATA, "metadata values"))
    metadata_end, alignment = cursor.position, _alignment(metadata)
    tensors = _tensors(cursor, tensor_count, alignment)
    data_offset = align(cursor.position, alignment)
    header = Header(version, MappingProxyType(metadata), tensors, data_offset, alignment, metadata_end)
    if tensors and file_size is not None and header.file_bytes > file_size:
        raise BadHeader(f"The file is cut off: it has {file_size} bytes and needs {header.file_bytes}.", HINT)
    return header


def align(size: int, alignment: int) -> int:
    """The next multiple of `alignment`, a power of two."""
    return (size + alignment - 1) & -alignment


def _version(cursor: Cursor) -> int:
    try:
        start = bytes(cursor.raw(len(MAGIC) + 4))
    except TruncatedHeader as short:
        start = bytes(cursor.raw(short.have))
        if start[:4] == MAGIC[: short.have]:
            raise TruncatedHeader(short.have, METADATA_START) from None
    if start[:4] != MAGIC:
        raise NotGguf("The file is not a GGUF file: its first bytes differ.", "Give a .gguf model file.")
    version = int.from_bytes(start[4:], "little")
    if version not in VERSIONS:
        raise UnsupportedVersion(*_unsupported(start[4:]))
    return version


def _unsupported(field: bytes) -> tuple[str, str]:
    if int.from_bytes(field, "big") in (1, *VERSIONS):
        return "The file is big endian; only little-endian GGUF is supported.", "Use a little-endian file."
    version = int.from_bytes(field, "little")
    hint = "Use a newer conversion of the model." if version <= 1 else "Update mixchat, or use another file."
    return f"GGUF version {version} is not supported; versions 2 and 3 are.", hint


def _metadata(cursor: Cursor, count: int) -> dict[str, MetadataValue]:
    metadata: dict[str, MetadataValue] = {}
    for _ in range(count):
        key = cursor.text()
        if not key:
            raise BadHeader("The metadata has an empty key.", HINT)
        if key in metadata:
            raise BadHeader(f"The metadata has the key {key[:80]!r} twice.", HINT)
        kind = cursor.value_type()
        if key == ALIGNMENT_KEY and kind is not ValueType.UINT32:
            raise BadHeader(f"The metadata's {ALIGNMENT_KEY} has the type {kind.name} instead of UINT32.", HINT)
        metadata[key] = cursor.value(kind)
    return metadata


def _alignment(metadata: Mapping[str, MetadataValue]) -> int:
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise BadHeader(f"An alignment of {alignment} is not a power of two up to {MAX_ALIGNMENT}.", HINT)
    return alignment


def _tensors(cursor: Cursor, count: int, alignment: int) -> tuple[TensorInfo, ...]:
    """Read the list of tensors; llama.cpp wants their data in this order, without gaps but the alignment's."""
    tensors: dict[str, TensorInfo] = {}
    end = 0
    for _ in range(count):
        tensor = _tensor(cursor)
        if tensor.name in tensors:
            raise BadHeader(f"Tensor {tensor.name!r} is there twice.", HINT)
        if tensor.offset != end:
            raise BadHeader(f"Tensor {tensor.name!r} starts at {tensor.offset} instead of {end}.", HINT)
        end = align(end + tensor.nbytes, alignment)
        if end > _MAX_SIZE:
            raise BadHeader(f"Tensor {tensor.name!r} ends past 2^63 bytes.", HINT)
        tensors[tensor.name] = tensor
    return tuple(tensors.values())


def _tensor(cursor: Cursor) -> TensorInfo:
    size = cursor.count(MAX_NAME_BYTES, "bytes of a tensor's name")
    name = str(cursor.raw(size), "utf-8", "replace")
    dimensions = cursor.u32()
    if dimensions > MAX_DIMENSIONS:
        raise BadHeader(f"Tensor {name!r} has {dimensions} dimensions; the limit is {MAX_DIMENSIONS}.", HINT)
    shape = tuple(cursor.u64() for _ in range(dimensions))
    if prod(size for size in shape if size) > _MAX_SIZE:  # a size of 0 is sound: the tensor is empty
        raise BadHeader(f"Tensor {name!r} has the impossible shape {shape}.", HINT)
    kind = ggml_type(cursor.u32())
    return TensorInfo(name, shape, kind, cursor.u64(), nbytes(kind, shape))
