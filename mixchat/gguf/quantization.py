"""The name of a file's quantization.

Knows llama.cpp's table of file types (`llama_ftype` in `llama.h`); refuses to guess from file names.
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from mixchat.gguf.header import Header

FILE_TYPES: Mapping[int, str] = MappingProxyType(
    {
        0: "F32",
        1: "F16",
        2: "Q4_0",
        3: "Q4_1",
        7: "Q8_0",
        8: "Q5_0",
        9: "Q5_1",
        10: "Q2_K",
        11: "Q3_K_S",
        12: "Q3_K_M",
        13: "Q3_K_L",
        14: "Q4_K_S",
        15: "Q4_K_M",
        16: "Q5_K_S",
        17: "Q5_K_M",
        18: "Q6_K",
        19: "IQ2_XXS",
        20: "IQ2_XS",
        21: "Q2_K_S",
        22: "IQ3_XS",
        23: "IQ3_XXS",
        24: "IQ1_S",
        25: "IQ4_NL",
        26: "IQ3_S",
        27: "IQ3_M",
        28: "IQ2_S",
        29: "IQ2_M",
        30: "IQ4_XS",
        31: "IQ1_M",
        32: "BF16",
        36: "TQ1_0",
        37: "TQ2_0",
        38: "MXFP4_MOE",
        39: "NVFP4",
        40: "Q1_0",
        41: "Q2_0",
    }
)
"""Names by `general.file_type`."""

_KEY = "general.file_type"
_UNSTATED = -1


def quantization_of(header: Header) -> str:
    """The name by `general.file_type`; without a known one, the type that holds most bytes.

    Raises:
        BadHeader: The file type is no whole number.
    """
    known = FILE_TYPES.get(header.integer(_KEY, _UNSTATED))
    if known is not None:
        return known
    held: Counter[str] = Counter()
    for tensor in header.tensors:
        held[tensor.type.name] += tensor.nbytes
    return held.most_common(1)[0][0] if held else "none"
