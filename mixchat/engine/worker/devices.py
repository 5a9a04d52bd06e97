"""The devices that this build of llama.cpp can use.

Knows ggml's device registry; refuses to know what should run where.
"""

import ctypes
from typing import Final, Literal

from mixchat.engine.events import DeviceInfo
from mixchat.engine.worker import bindings as ggml

_KINDS: Final[dict[int, Literal["cpu", "gpu", "igpu", "accel"]]] = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}


def list_devices() -> tuple[DeviceInfo, ...]:
    """All registered devices, in ggml's order, with their memory at this moment."""
    return tuple(_describe(ggml.backend_dev_get(index)) for index in range(ggml.backend_dev_count()))


def _describe(device: int) -> DeviceInfo:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    ggml.backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return DeviceInfo(
        name=_text(ggml.backend_dev_name(device)),
        description=_text(ggml.backend_dev_description(device)),
        kind=_KINDS.get(ggml.backend_dev_type(device), "accel"),
        free=free.value,
        total=total.value,
    )


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")
