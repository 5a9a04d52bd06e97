"""RPC servers as devices of the worker: there, not there, busy, gone."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from mixchat.engine import endpoint as module
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import GenerateRequest, Loaded, LoadRequest, Token
from mixchat.errors import EngineDied, EngineError, UsageError
from mixchat.plan.values import Override
from tests.engine.rpc_servers import running_server, serve_rpc
from tests.engine.steps import GREEDY, chatml, greedy
from tests.mistral_vocab import write_tiny_mixtral


def on_server(model: Path, device: str = "RPC0") -> LoadRequest:
    return LoadRequest(str(model), context=256, devices=(device,), n_gpu_layers=99, read_ahead=False)


def test_a_server_is_a_device_only_when_it_is_asked_for(client: WorkerClient) -> None:
    local = [device.name for device in client.devices()]
    assert not any(device.remote for device in client.devices())
    with serve_rpc() as server:
        devices = client.devices((server,))
        assert [device.name for device in devices] == [*local, "RPC0"]
        assert [device.name for device in client.devices((server,))] == [*local, "RPC0"]
        assert devices[-1].description == server
        assert (devices[-1].remote, devices[-1].backend, devices[-1].unified) == (True, "RPC", False)
        assert 0 < devices[-1].free <= devices[-1].total
        localhost = server.replace("127.0.0.1", "localhost")
        assert [device.name for device in client.devices((localhost, server))] == [*local, "RPC0"]
    assert [device.name for device in client.devices()] == local


def test_a_model_is_loaded_on_a_server_and_asked_about_meanwhile(client: WorkerClient, tmp_path: Path) -> None:
    model = write_tiny_mixtral(tmp_path / "model.gguf")
    with serve_rpc() as first, serve_rpc() as second:
        names = [device.name for device in client.devices((first, second))]
        assert names[-2:] == ["RPC0", "RPC1"]
        *_progress, loaded = client.load(on_server(model, "RPC1"))
        assert isinstance(loaded, Loaded)
        held = {(buffer.device, buffer.holds) for buffer in loaded.buffers}
        assert {("RPC1", "model"), ("RPC1", "kv"), ("RPC1", "compute")} <= held
        assert not any(device == "RPC0" for device, _holds in held)
        assert [device.name for device in client.devices((first, second))] == names
        answer = list(client.generate(GenerateRequest(tuple(range(1, 20)), GREEDY, 3)))
        assert sum(isinstance(event, Token) for event in answer) >= 1


def test_an_unknown_device_is_named_with_those_there_are(client: WorkerClient, tiny: Path) -> None:
    with pytest.raises(EngineError, match="no device CUDA7") as caught:
        list(client.load(on_server(tiny, "CUDA7")))
    assert "CPU" in caught.value.hint
    overrides = (Override("ffn", "Vulkan9"),)
    with pytest.raises(EngineError, match="no device Vulkan9"):
        list(client.load(LoadRequest(str(tiny), overrides=overrides)))
    with pytest.raises(EngineError, match="at most 16 devices"):
        list(client.load(LoadRequest(str(tiny), devices=("CPU",) * 17)))


def test_a_pattern_that_is_no_regular_expression_is_a_usage_error(client: WorkerClient, tiny: Path) -> None:
    with pytest.raises(UsageError, match="no regular expression"):
        list(client.load(LoadRequest(str(tiny), overrides=(Override("ffn_(up", "CPU"),))))
    assert isinstance(list(client.load(LoadRequest(str(tiny), overrides=(Override("ffn_up", "CPU"),))))[-1], Loaded)


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:65536", "[::1]:50052", "a b:1", "1:2:3"])
def test_a_wrong_spelling_is_a_usage_error(client: WorkerClient, text: str) -> None:
    with pytest.raises(UsageError, match="not an RPC server"):
        client.devices((text,))
    assert client.pid is None


def test_nobody_there_is_an_error_and_the_worker_lives(client: WorkerClient) -> None:
    client.devices()
    pid = client.pid
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(EngineError, match=rf"No RPC server answers at 127\.0\.0\.1:{port}") as caught:
            client.devices((f"127.0.0.1:{port}",))
    assert "mixchat rpc-worker" in caught.value.hint
    assert client.pid == pid
    with pytest.raises(EngineError, match=r"nowhere\.invalid"):
        client.devices(("nowhere.invalid:1",))


def test_a_busy_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection and says nothing, as a server does that another program uses."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = module.Endpoint("127.0.0.1", silent.getsockname()[1])
        assert module.is_open(endpoint)
        with pytest.raises(EngineError, match=f"{endpoint} does not answer"):
            module.need_answer(endpoint)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives every client this answer and hangs up."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _address = listening.accept()
                with connection:
                    connection.recv(33)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def test_what_hangs_up_is_no_rpc_server(client: WorkerClient) -> None:
    with answering(b"") as name, pytest.raises(EngineError, match=f"at {name} is no RPC server"):
        client.devices((name,))


def test_a_server_of_another_version_ends_the_worker_and_is_named(client: WorkerClient) -> None:
    hello = (28).to_bytes(8, "little") + bytes([99, 0, 0, 0]) + bytes(24)
    with answering(hello) as name, pytest.raises(EngineDied, match=f"{name} went away while looking .*another version"):
        client.devices((name,))
    assert client.devices()


def test_a_server_that_dies_while_it_decodes_is_named(client: WorkerClient, demo_model: Path) -> None:
    with serve_rpc() as other, running_server() as (name, server):
        devices = client.devices((other, name))
        list(client.load(on_server(demo_model, devices[-1].name)))
        prompt = chatml(client, "Tell a long story.")
        with pytest.raises(EngineDied, match=f"RPC server at {name} went away while generating") as caught:
            for event in client.generate(GenerateRequest(prompt, GREEDY, 200)):
                if isinstance(event, Token) and server.pid is not None:
                    os.kill(server.pid, signal.SIGKILL)
        assert caught.value.signal == signal.SIGABRT
        assert "rpc-worker" in caught.value.hint
    assert not any(device.remote for device in client.devices())
    with pytest.raises(EngineError, match="no device RPC1"):
        list(client.load(on_server(demo_model, "RPC1")))
    list(client.load(LoadRequest(str(demo_model), context=256, threads=2)))
    assert greedy(client, prompt, 1)[2].usage.completion_tokens == 1


def test_a_server_may_serve_again_after_its_client_ended(tiny: Path) -> None:
    with serve_rpc() as server:
        for _ in range(2):
            with closing(WorkerClient(os.environ)) as client:
                client.devices((server,))
                assert isinstance(list(client.load(on_server(tiny)))[-1], Loaded)
