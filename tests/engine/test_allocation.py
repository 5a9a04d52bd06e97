"""A device without room for a buffer: provoked by a limit on the address space of the worker or of an RPC server."""

import resource
import sys
from pathlib import Path

import psutil
import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Loaded, LoadRequest
from mixchat.errors import AllocationFailed
from tests.engine.rpc_servers import running_server
from tests.engine.steps import chatml, greedy

MIB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits another process")


def leave(pid: int | None, room: int) -> None:
    """Let a process map so many bytes more than it has."""
    assert pid is not None
    limit = psutil.Process(pid).memory_info().vms + room
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def free(pid: int | None) -> None:
    assert pid is not None
    resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        # 2 layers of keys and values in halves: 1 KiB a token.
        ({"context": 1 << 20}, "kv cache"),
        ({"context": 8192, "ubatch": 8192, "outputs": 8192}, "compute"),
    ],
    ids=["kv", "compute"],
)
def test_ram_without_room_is_told(client: WorkerClient, tiny: Path, request_: dict[str, int], words: str) -> None:
    client.devices()
    leave(client.pid, 200 * MIB)
    with pytest.raises(AllocationFailed, match="RAM has no room for the KV cache or the computation") as caught:
        list(client.load(LoadRequest(str(tiny), **request_)))  # type: ignore[arg-type]
    assert words in caught.value.message.lower()
    assert (caught.value.device, caught.value.exit_code) == ("CPU", 6)
    free(client.pid)
    assert isinstance(list(client.load(LoadRequest(str(tiny), context=256)))[-1], Loaded)


def test_ram_without_room_for_weights_is_told(client: WorkerClient, demo_model: Path) -> None:
    client.devices()
    leave(client.pid, 300 * MIB)
    request = LoadRequest(str(demo_model), context=256, threads=2, load_mode="copy", read_ahead=False)
    with pytest.raises(AllocationFailed, match="RAM has no room for the weights") as caught:
        list(client.load(request))
    assert caught.value.device == "CPU"
    free(client.pid)
    list(client.load(request))
    assert greedy(client, chatml(client, "Hi"), 1)[2].usage.completion_tokens == 1


def test_a_device_without_room_is_named(client: WorkerClient, demo_model: Path) -> None:
    """The second of two servers is too small; what the first one took is given back for the next try."""
    with running_server() as (first, _), running_server() as (second, small):
        client.devices((first, second))
        request = LoadRequest(
            str(demo_model),
            context=256,
            devices=("RPC0", "RPC1"),
            n_gpu_layers=31,
            tensor_split=(10, 21),
            threads=2,
            read_ahead=False,
        )
        leave(small.pid, 100 * MIB)
        with pytest.raises(AllocationFailed, match="RPC1 has no room for the weights") as caught:
            list(client.load(request))
        assert caught.value.device == "RPC1"
        free(small.pid)
        assert isinstance(list(client.load(request))[-1], Loaded)
