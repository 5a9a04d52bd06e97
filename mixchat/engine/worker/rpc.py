"""RPC servers as devices.

Knows how a server gets into ggml's registry; refuses to know what is loaded there.
"""

from collections.abc import Collection, Sequence
from typing import Final

from mixchat.engine.endpoint import Endpoint, need_answer, parse_endpoint, resolve
from mixchat.engine.worker import bindings as ggml
from mixchat.engine.worker.devices import is_registered
from mixchat.errors import EngineError

_REBUILD: Final = (
    'CMAKE_ARGS="-DGGML_RPC=ON" pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python'
    " llama-cpp-python"
)


def need_rpc() -> None:
    """Refuse a build without the RPC backend.

    Raises:
        EngineError: It is one.
    """
    if ggml.rpc_add_server is None or ggml.rpc_start_server is None:
        raise EngineError("This build of llama.cpp has no RPC backend.", _REBUILD)


def register(servers: Sequence[str], in_use: Collection[str] = ()) -> tuple[str, ...]:
    """Add the devices of RPC servers to ggml's registry, each server once per process.

    Args:
        servers: As HOST:PORT.
        in_use: Servers (IP:PORT) that hold a part of the loaded model; they answer no greeting meanwhile.

    Returns:
        The servers as IP:PORT.

    Raises:
        UsageError: One is not written as HOST:PORT.
        EngineError: One does not answer or has no device, or this build has no RPC backend.
    """
    endpoints = [parse_endpoint(server) for server in servers]
    if endpoints:
        need_rpc()
    resolved = {str(found): found for found in map(resolve, endpoints)}
    for name, endpoint in resolved.items():
        if name not in in_use:
            need_answer(endpoint)
        if not is_registered(name):
            _add(endpoint)
    return tuple(resolved)


def _add(endpoint: Endpoint) -> None:
    assert ggml.rpc_add_server is not None  # noqa: S101 - need_rpc was asked
    registry = ggml.rpc_add_server(str(endpoint).encode())
    if not registry:
        raise EngineError(f"The RPC server at {endpoint} has no devices.", "Start another one: mixchat rpc-worker")
    ggml.backend_register(registry)
