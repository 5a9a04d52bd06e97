"""llama.cpp's own log: kept, searched for reasons and buffer sizes.

Knows the log's lines; refuses to know who reads them. Everything also goes to descriptor 2, which the front keeps in a
file, so that the lines outlive a worker that dies.
"""

import os
import re
from collections import deque
from typing import Final, Literal

from mixchat.engine.events import BufferSize
from mixchat.engine.snapshot import FlashAttention
from mixchat.engine.worker.bindings import LogCallback, llama
from mixchat.engine.worker.devices import buffers_device
from mixchat.plan.values import CPU

_KEPT: Final = 2000
_ERROR: Final = 4
_BUFFER: Final = re.compile(r"([\w:.\-\[\]/]+?)\s+(model|KV|compute|output)\s+buffer size\s*=\s*([\d.]+) MiB")
_REASON: Final = re.compile(
    r"error loading model: (.+)|failed to initialize the context: (.+)|failed to (?:load|create) .*?: (.+)"
    r"|(GGML_ASSERT.+)"
)
# Weights (llama-model.cpp), then any buffer of tensors or of a graph (ggml-alloc.c); both name the type of buffer.
_NO_ROOM: Final = re.compile(r"unable to allocate (\S+) buffer|failed to allocate (\S+) buffer of size \d+")
# The KV cache, the compute and output buffers (llama-context.cpp), and what C++ says when RAM ends.
_NO_ROOM_SOMEWHERE: Final = re.compile(
    r"failed to allocate (?:buffer for kv cache|compute|graph|output buffer)|failed to reserve initial output buffer"
    r"|cudaMalloc failed|out of memory|insufficient memory|std::bad_alloc"
)
# llama-context.cpp: what a context is made with, then what became of "auto".
_FLASH: Final = re.compile(r"flash_attn\s+= (enabled|disabled|auto)|Flash Attention (enabled|not supported)")


class Log:
    """Receives every line of llama.cpp's log while it lives."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._errors: deque[str] = deque(maxlen=50)
        self._callback = LogCallback(self._take)
        llama.llama_log_set(self._callback, None)

    def _take(self, level: int, text: bytes | None, _data: int | None) -> None:
        raw = text or b""
        line = raw.decode("utf-8", "replace")
        self._lines.append(line)
        if level == _ERROR:
            self._errors.append(line.strip())
        os.write(2, raw)

    def clear(self) -> None:
        """Forget what came before the next operation."""
        self._lines.clear()
        self._errors.clear()

    def reason(self) -> str:
        """llama.cpp's own words for the last failure; empty when it gave none."""
        for line in reversed(self._lines):
            if found := _REASON.search(line):
                return next(group for group in found.groups() if group).strip()
        return self._errors[-1] if self._errors else ""

    def buffers(self) -> tuple[BufferSize, ...]:
        """Every buffer reported since `clear`; with mmap the CPU's `model` line is a span of the file, not a sum."""
        names: dict[str, Literal["model", "kv", "compute", "output"]]
        names = {"model": "model", "KV": "kv", "compute": "compute", "output": "output"}
        found = (_BUFFER.search(line) for line in self._lines)
        return tuple(BufferSize(buffers_device(m[1]), names[m[2]], round(float(m[3]) * 2**20)) for m in found if m)

    def flash_attention(self) -> FlashAttention:
        """Whether the context made since `clear` computes it so; "unknown" when llama.cpp does not tell."""
        found = next(filter(None, map(_FLASH.search, reversed(self._lines))), None)
        said = (found[1] or found[2]) if found else "auto"
        return "unknown" if said == "auto" else "on" if said == "enabled" else "off"

    def lacking_room(self) -> str | None:
        """The device on which a buffer could not be allocated since `clear`.

        Returns:
            Its name, `CPU` for every kind of RAM; empty when llama.cpp does not tell; None when none failed.
        """
        for line in reversed(self._lines):
            if found := _NO_ROOM.search(line):
                device = buffers_device(found[1] or found[2])
                return CPU if device.startswith(f"{CPU}_") else device
        if any(_NO_ROOM_SOMEWHERE.search(line) for line in self._lines):
            return CPU if any("std::bad_alloc" in line for line in self._lines) else ""
        return None
