"""Writes the header of a GGUF file, version 3.

Knows the file format from the other side than `header`; refuses to know tensors' data and files. Whoever writes a
file appends each tensor's bytes at its offset: `parse_header` of the written bytes says where that is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import pack

from mixchat.gguf.header import ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, align
from mixchat.gguf.types import GgmlType, nbytes
from mixchat.gguf.values import CODES, MetadataValue, Scalar, ValueType

TensorSpec = tuple[str, tuple[int, ...], GgmlType]
"""A tensor's name, its shape with the row length first, and its type."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A metadata value with the type that it has in the file.

    Attributes:
        type: The value's type; of an array, its items'.
        value: A tuple is an array.
    """

    type: ValueType
    value: MetadataValue


def scalar(kind: ValueType, value: Scalar) -> Typed:
    """A single value of any type but ARRAY."""
    return Typed(kind, value)


def array(items: ValueType, values: Iterable[Scalar]) -> Typed:
    """An array whose items have one type."""
    return Typed(items, tuple(values))


def u32(value: int) -> Typed:
    """A UINT32."""
    return Typed(ValueType.UINT32, value)


def f32(value: float) -> Typed:
    """A FLOAT32."""
    return Typed(ValueType.FLOAT32, value)


def flag(value: bool) -> Typed:
    """A BOOL."""
    return Typed(ValueType.BOOL, value)


def text(value: str) -> Typed:
    """A STRING."""
    return Typed(ValueType.STRING, value)


def texts(values: Iterable[str]) -> Typed:
    """An ARRAY of STRING."""
    return array(ValueType.STRING, values)


def header_bytes(
    metadata: Mapping[str, Typed], tensors: Sequence[TensorSpec], alignment: int = DEFAULT_ALIGNMENT
) -> bytes:
    """The bytes of a file up to its data section.

    Args:
        metadata: Values by key; `general.alignment` is added when the alignment is not the default.
        tensors: Laid out in this order, each at the next multiple of the alignment.
        alignment: A power of two.

    Raises:
        BadHeader: A tensor's row is not a whole number of its type's blocks.
    """
    if alignment != DEFAULT_ALIGNMENT:
        metadata = {**metadata, ALIGNMENT_KEY: u32(alignment)}
    values = b"".join(_string(key) + _typed(value) for key, value in metadata.items())
    return header_around((3, len(metadata)), values, tensors, alignment)


def header_around(start: tuple[int, int], values: bytes, tensors: Sequence[TensorSpec], alignment: int) -> bytes:
    """The bytes of a file up to its data section, around metadata that is written already.

    Args:
        start: Version of the format and count of the metadata's values.
        values: The metadata's own bytes; `general.alignment` in it, or its absence, must say `alignment`.
        tensors: Laid out in this order, each at the next multiple of the alignment.
        alignment: A power of two.

    Raises:
        BadHeader: A tensor's row is not a whole number of its type's blocks.
    """
    version, count = start
    parts = [MAGIC, pack("<IQQ", version, len(tensors), count), values]
    offset = 0
    for name, shape, kind in tensors:
        parts.append(_string(name) + pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind.id, offset))
        offset = align(offset + nbytes(kind, shape), alignment)
    header = b"".join(parts)
    return header.ljust(align(len(header), alignment), b"\0")


def _string(value: str) -> bytes:
    encoded = value.encode()
    return pack("<Q", len(encoded)) + encoded


def _typed(typed: Typed) -> bytes:
    if isinstance(typed.value, tuple):
        return pack("<IIQ", ValueType.ARRAY, typed.type, len(typed.value)) + _items(typed.type, typed.value)
    return pack("<I", typed.type) + _items(typed.type, (typed.value,))


def _items(kind: ValueType, values: tuple[Scalar, ...]) -> bytes:
    if kind is ValueType.STRING:
        return b"".join(_string(str(value)) for value in values)
    return pack(f"<{len(values)}{CODES[kind]}", *values)
