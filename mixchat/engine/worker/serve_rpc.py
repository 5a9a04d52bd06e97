"""A process that serves one of this machine's devices over RPC, until its parent ends.

Knows llama.cpp's RPC server; refuses to know who connects. It says one frame on descriptor 1, the device or why there
is none, and nothing after that; everything that llama.cpp prints goes to descriptor 2.
"""

import ctypes
import os
import resource
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixchat.engine.events import DeviceInfo


def main() -> None:
    """Arguments: IPv4 address, port, threads, and a device's name; empty chooses a GPU, else the CPU."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer = os.dup(1)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    address, port, threads, wanted = sys.argv[1:5]

    from mixchat.engine import protocol  # noqa: PLC0415 - libraries load after the descriptors are safe
    from mixchat.errors import MixchatError  # noqa: PLC0415

    try:
        device = _choose(wanted)
    except MixchatError as error:
        os.write(answer, protocol.encode(0, protocol.failure(error)))
        return
    os.write(answer, protocol.encode(0, protocol.Devices((device,))))
    os.close(answer)
    _serve(f"{address}:{port}", int(threads), device.name)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


def _choose(wanted: str) -> "DeviceInfo":
    """The device of that name, or the first GPU, or the CPU.

    Raises:
        EngineError: There is none of that name, or this build of llama.cpp has no RPC backend.
    """
    from mixchat.engine.worker import rpc  # noqa: PLC0415
    from mixchat.engine.worker.bindings import llama  # noqa: PLC0415
    from mixchat.engine.worker.devices import find_devices, list_devices  # noqa: PLC0415

    rpc.need_rpc()
    llama.llama_backend_init()
    if wanted:
        find_devices((wanted,))
    devices = list_devices()
    gpus = [device for device in devices if device.kind in {"gpu", "igpu"}]
    cpus = [device for device in devices if device.kind == "cpu"]
    return next(device for device in (*gpus, *cpus, *devices) if wanted in {"", device.name})


def _serve(endpoint: str, threads: int, name: str) -> None:
    """Serve one client after the other; returns only when the server could not be started."""
    from mixchat.engine.worker.bindings import rpc_start_server  # noqa: PLC0415
    from mixchat.engine.worker.devices import find_devices  # noqa: PLC0415

    assert rpc_start_server is not None  # noqa: S101 - need_rpc was asked
    device = (ctypes.c_void_p * 1)(*find_devices((name,)))
    rpc_start_server(endpoint.encode(), None, threads, 1, device)
    sys.exit("llama.cpp could not start its RPC server.")


if __name__ == "__main__":
    main()
