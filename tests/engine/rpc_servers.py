"""RPC servers on loopback that serve this machine's CPU: second devices without a GPU."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from mixchat.engine.endpoint import Endpoint
from mixchat.engine.rpc_server import Offer, RpcServer
from mixchat.errors import EngineError


@contextmanager
def serve_rpc(threads: int = 1) -> Iterator[str]:
    """A server as HOST:PORT; it ends with the block. One client at a time, as llama.cpp has it."""
    with running_server(threads) as (endpoint, _server):
        yield endpoint


@contextmanager
def running_server(threads: int = 1) -> Iterator[tuple[str, RpcServer]]:
    """The same, with the process."""
    with closing(RpcServer(Offer(Endpoint("127.0.0.1", 0), threads, "CPU"), os.environ)) as server:
        try:
            endpoint, _device = server.start()
        except EngineError as error:
            if "no RPC backend" not in error.message:
                raise
            pytest.skip(f"{error.message} {error.hint}")
        yield str(endpoint), server
