"""The devices that this build of llama.cpp can use.

Knows ggml's device registry; refuses to know what should run where.
"""

import ctypes
import re
from collections.abc import Collection
from typing import Final, Literal

from mixchat.engine.events import DeviceInfo
from mixchat.engine.worker import bindings as ggml
from mixchat.errors import EngineError

RPC: Final = "RPC"
_METAL: Final = "MTL"
_KINDS: Final[dict[int, Literal["cpu", "gpu", "igpu", "accel"]]] = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}
_REMOTE_BUFFER: Final = re.compile(r"RPC(\d+)\[(.+)\]")


def list_devices(servers: Collection[str] = ()) -> tuple[DeviceInfo, ...]:
    """Devices in ggml's order, with their memory at this moment.

    Args:
        servers: RPC servers whose devices are wanted, as IP:PORT. Others that are registered are not asked: ggml
            ends the process when one of them is gone.
    """
    wanted = (device for device in _registry() if backend(device) != RPC or endpoint(device) in servers)
    return tuple(_describe(device) for device in wanted)


def find_devices(names: Collection[str]) -> tuple[int, ...]:
    """Handles of the devices of these names.

    Raises:
        EngineError: There is none of that name.
    """
    handles = {name(device): device for device in _registry()}
    missing = next((each for each in names if each not in handles), None)
    if missing is not None:
        raise EngineError(f"llama.cpp has no device {missing}.", f"There are: {', '.join(handles)}")
    return tuple(handles[each] for each in names)


def name(device: int) -> str:
    """The name that ggml gives a device: unique, counted through all RPC servers."""
    return _text(ggml.backend_dev_name(device))


def backend(device: int) -> str:
    """The name that ggml gives a device's backend."""
    return _text(ggml.backend_reg_name(ggml.backend_dev_backend_reg(device)))


def endpoint(device: int) -> str:
    """The IP:PORT of a remote device; of others the maker's name."""
    return _text(ggml.backend_dev_description(device))


def endpoints(names: Collection[str]) -> frozenset[str]:
    """The RPC servers (IP:PORT) of these devices."""
    return frozenset(endpoint(device) for device in find_devices(names) if backend(device) == RPC)


def is_registered(wanted: str) -> bool:
    """Whether an RPC server's devices are in the registry."""
    return bool(_remote(wanted))


def buffers_device(buffer: str) -> str:
    """The name of a buffer's device; local buffers keep the name that the log gives them.

    ggml names a remote buffer by the index of its device on its server and by the server, `RPC0[10.0.0.2:50052]`, so
    that the first devices of two servers are both called RPC0.
    """
    match = _REMOTE_BUFFER.fullmatch(buffer)
    return _remote(match[2])[int(match[1])] if match else buffer


def _remote(wanted: str) -> list[str]:
    return [name(device) for device in _registry() if backend(device) == RPC and endpoint(device) == wanted]


def _registry() -> tuple[int, ...]:
    return tuple(ggml.backend_dev_get(index) for index in range(ggml.backend_dev_count()))


def _describe(device: int) -> DeviceInfo:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    ggml.backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    kind = _KINDS.get(ggml.backend_dev_type(device), "accel")
    return DeviceInfo(
        name=name(device),
        description=_text(ggml.backend_dev_description(device)),
        kind=kind,
        free=free.value,
        total=total.value,
        unified=kind == "igpu" or backend(device) == _METAL,
        remote=backend(device) == RPC,
        backend=backend(device),
    )


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")
