"""The tensor types of ggml and the bytes they take.

Knows every type that a current GGUF file may hold; refuses to know how values are packed inside a block.
Sizes are those of llama.cpp's `ggml-common.h` and `ggml.h`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from mixchat.errors import BadHeader

_HINT = "Use a file that a current llama.cpp can load."


@dataclass(frozen=True, slots=True)
class GgmlType:
    """A tensor type.

    Attributes:
        id: The number that stands in a file.
        name: As quantizations are called, such as `Q4_K`.
        elements: Elements of one block; a row is a whole number of blocks.
        nbytes: Bytes of one block.
    """

    id: int
    name: str
    elements: int
    nbytes: int


_ALL = (
    GgmlType(0, "F32", 1, 4),
    GgmlType(1, "F16", 1, 2),
    GgmlType(2, "Q4_0", 32, 18),
    GgmlType(3, "Q4_1", 32, 20),
    GgmlType(6, "Q5_0", 32, 22),
    GgmlType(7, "Q5_1", 32, 24),
    GgmlType(8, "Q8_0", 32, 34),
    GgmlType(9, "Q8_1", 32, 36),
    GgmlType(10, "Q2_K", 256, 84),
    GgmlType(11, "Q3_K", 256, 110),
    GgmlType(12, "Q4_K", 256, 144),
    GgmlType(13, "Q5_K", 256, 176),
    GgmlType(14, "Q6_K", 256, 210),
    GgmlType(15, "Q8_K", 256, 292),
    GgmlType(16, "IQ2_XXS", 256, 66),
    GgmlType(17, "IQ2_XS", 256, 74),
    GgmlType(18, "IQ3_XXS", 256, 98),
    GgmlType(19, "IQ1_S", 256, 50),
    GgmlType(20, "IQ4_NL", 32, 18),
    GgmlType(21, "IQ3_S", 256, 110),
    GgmlType(22, "IQ2_S", 256, 82),
    GgmlType(23, "IQ4_XS", 256, 136),
    GgmlType(24, "I8", 1, 1),
    GgmlType(25, "I16", 1, 2),
    GgmlType(26, "I32", 1, 4),
    GgmlType(27, "I64", 1, 8),
    GgmlType(28, "F64", 1, 8),
    GgmlType(29, "IQ1_M", 256, 56),
    GgmlType(30, "BF16", 1, 2),
    GgmlType(34, "TQ1_0", 256, 54),
    GgmlType(35, "TQ2_0", 256, 66),
    GgmlType(39, "MXFP4", 32, 17),
    GgmlType(40, "NVFP4", 64, 36),
    GgmlType(41, "Q1_0", 128, 18),
    GgmlType(42, "Q2_0", 64, 18),
)

TYPES: Mapping[str, GgmlType] = MappingProxyType({kind.name: kind for kind in _ALL})
"""Every type by its name."""

REMOVED: Mapping[int, str] = MappingProxyType(
    {
        4: "Q4_2",
        5: "Q4_3",
        31: "Q4_0_4_4",
        32: "Q4_0_4_8",
        33: "Q4_0_8_8",
        36: "IQ4_NL_4_4",
        37: "IQ4_NL_4_8",
        38: "IQ4_NL_8_8",
    }
)
"""Numbers of types that llama.cpp once had and no longer loads."""

_BY_ID = {kind.id: kind for kind in _ALL}


def ggml_type(number: int) -> GgmlType:
    """The type with this number.

    Raises:
        BadHeader: llama.cpp removed the type or never had it.
    """
    if number in REMOVED:
        raise BadHeader(f"Tensor type {REMOVED[number]} was removed from llama.cpp.", _HINT)
    if number not in _BY_ID:
        raise BadHeader(f"Tensor type {number} is unknown.", _HINT)
    return _BY_ID[number]


def nbytes(kind: GgmlType, shape: Sequence[int]) -> int:
    """Bytes of a tensor without padding.

    Args:
        kind: Its type.
        shape: Elements per dimension, the row length first; empty for a single element.

    Raises:
        BadHeader: A row is not a whole number of blocks.
    """
    row = shape[0] if shape else 1
    if row % kind.elements:
        raise BadHeader(f"A row of {row} elements is not a whole number of {kind.name} blocks.", _HINT)
    return prod(shape) // kind.elements * kind.nbytes
