"""llama.cpp's own log: kept, searched for reasons and buffer sizes.

Knows the log's lines; refuses to know who reads them. Everything also goes to descriptor 2, which the front keeps in a
file, so that the lines outlive a worker that dies.
"""

import os
import re
from collections import deque
from typing import Final, Literal

from mixchat.engine.events import BufferSize
from mixchat.engine.worker.bindings import LogCallback, llama

_KEPT: Final = 2000
_ERROR: Final = 4
_BUFFER: Final = re.compile(r"([\w:.\-\[\]/]+?)\s+(model|KV|compute|output)\s+buffer size\s*=\s*([\d.]+) MiB")
_REASON: Final = re.compile(r"error loading model: (.+)|failed to (?:load|create) .*?: (.+)|(GGML_ASSERT.+)")


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
        return tuple(BufferSize(m[1], names[m[2]], round(float(m[3]) * 2**20)) for m in found if m)
