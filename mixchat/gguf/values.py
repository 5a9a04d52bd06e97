"""The types that metadata values have in a GGUF file.

Knows their numbers and their binary layout; refuses to know keys and what they mean.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

Scalar = int | float | bool | str
MetadataValue = Scalar | tuple[Scalar, ...]


class ValueType(IntEnum):
    """A metadata value's type, with its number in the file."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


CODES: Mapping[ValueType, str] = MappingProxyType(
    {
        ValueType.UINT8: "B",
        ValueType.INT8: "b",
        ValueType.UINT16: "H",
        ValueType.INT16: "h",
        ValueType.UINT32: "I",
        ValueType.INT32: "i",
        ValueType.FLOAT32: "f",
        ValueType.BOOL: "B",
        ValueType.UINT64: "Q",
        ValueType.INT64: "q",
        ValueType.FLOAT64: "d",
    }
)
"""`struct` codes of the types of fixed size; all are little endian in a file."""
