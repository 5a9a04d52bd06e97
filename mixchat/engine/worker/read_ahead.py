"""Read a model file into the page cache before llama.cpp maps it.

Knows pages and chunks; refuses to know what is in them. With mmap, llama.cpp's own progress says nothing and the
reading happens inside the first prefill; here it has a progress, and can be stopped.
"""

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_CHUNK: Final = 32 * 2**20


def read_ahead(path: Path, on_progress: Callable[[float], bool]) -> bool:
    """Bring the whole file into the page cache; chunks that are there already cost nothing.

    Args:
        path: The file.
        on_progress: Called with the fraction done (0 to 1) after each chunk of 32 MiB; False stops.

    Returns:
        False when it was stopped.
    """
    size = path.stat().st_size
    scratch = memoryview(bytearray(min(_CHUNK, size)))
    with path.open("rb", buffering=0) as file:
        for start in range(0, size, _CHUNK):
            length = min(_CHUNK, size - start)
            if not _resident(file.fileno(), start, length):
                os.preadv(file.fileno(), [scratch[:length]], start)
            if not on_progress((start + length) / size):
                return False
    return True


def _resident(descriptor: int, start: int, length: int) -> bool:
    """Whether every page of a part of a file is in memory (mincore(2)); False where the system cannot tell."""
    pages = (ctypes.c_ubyte * (-(-length // mmap.PAGESIZE)))()
    with mmap.mmap(descriptor, length, access=mmap.ACCESS_COPY, offset=start) as view:
        anchor = ctypes.c_char.from_buffer(view)
        address = ctypes.c_void_p(ctypes.addressof(anchor))
        told = ctypes.CDLL(None).mincore(address, ctypes.c_size_t(length), pages) == 0
        del anchor
    return told and all(page & 1 for page in bytes(pages))
