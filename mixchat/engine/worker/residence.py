"""How much of a mapped model lies in RAM.

Knows the process's own mappings; refuses to know which tensors they hold. Linux tells; elsewhere nothing is known.
"""

import ctypes
import mmap
from pathlib import Path
from typing import Final

MAPS: Final = Path("/proc/self/maps")
_WINDOW: Final = 1 << 30
_FIELDS: Final = 6


def residence(model: Path) -> tuple[int, int]:
    """Bytes of the model's file that this process maps, and those of them in the page cache.

    Every shard counts, and nothing that llama.cpp unmapped because it lies on a device. mincore(2) tells the truth
    only to who may write the file; for others all of it is there.
    """
    mapped = resident = 0
    for start, end in _mappings(model):
        mapped += end - start
        for window in range(start, end, _WINDOW):
            resident += _resident(window, min(_WINDOW, end - window))
    return mapped, resident


def _mappings(model: Path) -> list[tuple[int, int]]:
    """Address ranges of the files of the model's folder and suffix."""
    folder, suffix = str(model.resolve().parent), model.suffix
    found: list[tuple[int, int]] = []
    try:
        lines = MAPS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return found
    for line in lines:
        fields = line.split(maxsplit=_FIELDS - 1)
        if len(fields) == _FIELDS and fields[-1].startswith(f"{folder}/") and fields[-1].endswith(suffix):
            start, end = (int(address, 16) for address in fields[0].split("-"))
            found.append((start, end))
    return found


def _resident(start: int, length: int) -> int:
    pages = (ctypes.c_ubyte * (-(-length // mmap.PAGESIZE)))()
    if ctypes.CDLL(None).mincore(ctypes.c_void_p(start), ctypes.c_size_t(length), pages) != 0:
        return length
    # The lowest bit tells; Linux sets no other.
    return bytes(pages).count(1) * mmap.PAGESIZE
