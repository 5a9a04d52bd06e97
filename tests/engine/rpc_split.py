"""Run in a process of its own: the demo model on a second device, served over RPC on loopback by a child.

Prints one JSON object: devices, buffers and greedy tokens, with everything on the second device and on the CPU alone.
Exit code 77: this build has no RPC backend.
"""

import ctypes
import json
import multiprocessing
import socket
import sys
import time

from mixchat.engine.events import GenerateRequest, Loaded, LoadRequest, Sampling, Token
from mixchat.engine.worker import bindings
from mixchat.engine.worker.bindings import AbortFlag, llama
from mixchat.engine.worker.devices import list_devices
from mixchat.engine.worker.loading import load
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.scheduler import Scheduler
from mixchat.engine.worker.vocabulary import Vocabulary


def serve(port: int) -> None:
    """Offer this process's CPU as a device."""
    start = bindings._ggml(
        "ggml_backend_rpc_start_server", None, *[ctypes.c_char_p] * 2, *[ctypes.c_size_t] * 2, ctypes.c_void_p
    )
    device = (ctypes.c_void_p * 1)(bindings.backend_dev_get(0))
    start(f"127.0.0.1:{port}".encode(), None, 1, 1, device)


def run(path: str, tokens: list[int], *, gpu: bool) -> dict[str, object]:
    """Load and continue a prompt."""
    log = Log()
    done: list[Loaded] = []
    request = LoadRequest(path, context=512, gpu=gpu, threads=2, load_mode="copy")
    model = load(request, AbortFlag(), log, lambda event: done.append(event) if isinstance(event, Loaded) else None)
    sent: list[int] = []
    scheduler = Scheduler(
        model,
        Vocabulary(model.handle, model.vocab),
        log,
        lambda _id, event: sent.append(event.id) if isinstance(event, Token) else None,
    )
    scheduler.start(1, GenerateRequest(tuple(tokens), Sampling(temperature=0), 8))
    while scheduler.busy:
        scheduler.step()
    model.free()
    return {"buffers": [[b.device, b.holds, b.nbytes] for b in done[0].buffers], "tokens": sent}


def main() -> None:
    """Arguments: the model's path and its prompt's tokens as JSON."""
    path, tokens = sys.argv[1], json.loads(sys.argv[2])
    if not hasattr(llama._lib, "ggml_backend_rpc_add_server"):
        sys.exit(77)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    deadline = time.monotonic() + 30
    while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
        time.sleep(0.05)
    llama.llama_backend_init()
    add = bindings._ggml("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
    register = bindings._ggml("ggml_backend_register", None, ctypes.c_void_p)
    register(add(f"127.0.0.1:{port}".encode()))
    result = {
        "devices": [[device.name, device.kind] for device in list_devices()],
        "second": run(path, tokens, gpu=True),
        "cpu": run(path, tokens, gpu=False),
    }
    print(json.dumps(result))  # noqa: T201 - its answer
    server.kill()


if __name__ == "__main__":
    main()
