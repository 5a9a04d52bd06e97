"""`mixchat rpc-worker` as a user runs it, and its server process."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from mixchat.engine.client import WorkerClient
from tests.command import Command, Running, gone, wait_for

SERVER = "mixchat.engine.worker.serve_rpc"
ANY = "0.0.0.0"  # noqa: S104 - to be warned of
CPU = ("--device", "CPU", "--threads", "1")
LINE = re.compile(
    r"Serving CPU \(.+\), [\d.]+ [GTM]iB free of [\d.]+ [GTM]iB, at (127\.0\.0\.1:\d+)\. "
    r"On the other machine: mixchat chat MODEL --rpc (127\.0\.0\.1:\d+)\n"
)


@pytest.fixture(scope="module", autouse=True)
def _needs_rpc(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bare")
    result = Command(folder / "home", folder).run("rpc-worker", "--port", "0", "--device", "none")
    if b"no RPC backend" in result.stderr:
        pytest.skip("llama-cpp-python was built without RPC")


@contextmanager
def serving(command: Command, *args: str) -> Iterator[tuple[Running, str, psutil.Process]]:
    """A running server, what it said, and its child."""
    with command.start("rpc-worker", *args) as running:
        assert running.process.stderr is not None
        said = running.process.stderr.readline().decode()
        child = wait_for(lambda: next(iter(children(running.pid)), None))
        yield running, said, child


def children(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if SERVER in child.cmdline()]


def test_it_says_in_one_line_what_it_serves_and_serves_it(bare: Command) -> None:
    with serving(bare, "--port", "0", *CPU) as (running, said, _child):
        match = LINE.fullmatch(said)
        assert match is not None, said
        assert match[1] == match[2]
        with closing(WorkerClient(os.environ)) as client:
            remote = [device for device in client.devices((match[1],)) if device.remote]
        assert [(device.name, device.description) for device in remote] == [("RPC0", match[1])]
        running.process.send_signal(signal.SIGINT)
        result = running.finish()
    assert (result.stdout, result.stderr) == (b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_its_child_at_once(bare: Command, number: signal.Signals) -> None:
    with serving(bare, "--port", "0", *CPU) as (running, _said, child):
        started = time.monotonic()
        running.process.send_signal(number)
        result = running.finish()
        assert time.monotonic() - started < 2
        wait_for(lambda: gone(child), 2.0)
    assert result.code == -number
    assert (result.stdout, result.stderr) == (b"", b"")


def test_its_child_dies_with_it(bare: Command) -> None:
    with serving(bare, "--port", "0", *CPU) as (running, _said, child):
        running.process.kill()
        wait_for(lambda: gone(child), 5.0)


def test_a_child_that_dies_is_an_error(bare: Command) -> None:
    with serving(bare, "--port", "0", *CPU) as (running, _said, child):
        child.send_signal(signal.SIGSEGV)
        result = running.finish()
    assert result.code == 6
    assert "The RPC server was killed by SIGSEGV while serving" in result.errors[0]


def test_another_address_is_warned_of_even_when_quiet(bare: Command) -> None:
    with serving(bare, "--host", ANY, "--port", "0", "-q", *CPU) as (running, said, child):
        assert said.startswith("WARNING: ")
        for words in ("no authentication", "no encryption", socket.gethostname()):
            assert words in said
        (listening,) = (each for each in child.net_connections("tcp4") if each.status == psutil.CONN_LISTEN)
        assert listening.laddr.ip == ANY
        running.process.send_signal(signal.SIGTERM)
        assert running.finish().stderr == b""


def test_only_loopback_is_served_by_default(bare: Command) -> None:
    with serving(bare, "--port", "0", *CPU) as (running, _said, child):
        (listening,) = (each for each in child.net_connections("tcp4") if each.status == psutil.CONN_LISTEN)
        assert listening.laddr.ip == "127.0.0.1"
        running.process.kill()


def test_quiet_is_silent(bare: Command) -> None:
    with bare.start("rpc-worker", "--port", "0", "-q", *CPU) as running:
        child = wait_for(lambda: next(iter(children(running.pid)), None))
        wait_for(lambda: [each for each in child.net_connections("tcp4") if each.status == psutil.CONN_LISTEN])
        running.process.send_signal(signal.SIGTERM)
        assert running.finish().stderr == b""


def test_an_occupied_port_is_one_clear_line(bare: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = bare.run("rpc-worker", "--port", str(port))
    assert result.code == 13
    assert result.errors == [f"mixchat: Another process has port {port} of 127.0.0.1.", result.errors[1]]
    assert "--port" in result.errors[1]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--device", "CUDA7"), 6, "no device CUDA7"),
        (("--host", "192.0.2.7"), 2, "192.0.2.7 is no address"),
        (("--host", "nowhere.invalid"), 2, "nowhere.invalid is no address"),
        (("--port", "70000"), 2, "70000 is not a port"),
        (("--threads", "0"), 2, "0 is no number of threads"),
    ],
)
def test_wrong_options_are_explained(bare: Command, args: tuple[str, str], code: int, words: str) -> None:
    port = () if "--port" in args else ("--port", "0")
    result = bare.run("rpc-worker", *args, *port)
    assert (result.code, result.stdout) == (code, b"")
    assert words in result.errors[0]


def test_debug_shows_the_servers_log(bare: Command) -> None:
    with serving(bare, "--port", "0", "--debug", *CPU) as (running, said, _child):
        match = LINE.fullmatch(said)
        assert match is not None, said
        with closing(WorkerClient(os.environ)) as client:
            client.devices((match[1],))
        running.process.send_signal(signal.SIGINT)
        assert b"RPC server v" in running.finish().stderr


def test_a_build_without_rpc_is_told_how_to_get_it(bare: Command, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        f"if '{SERVER}' in getattr(sys, 'orig_argv', ()) or 'mixchat.engine.worker' in getattr(sys, 'orig_argv', ()):\n"
        "    import ctypes\n"
        "    found = ctypes.CDLL.__getattr__\n"
        "    def lacking(self, name):\n"
        "        if '_rpc_' in name: raise AttributeError(name)\n"
        "        return found(self, name)\n"
        "    ctypes.CDLL.__getattr__ = lacking\n"
    )
    result = bare.run("rpc-worker", "--port", "0", env={"PYTHONPATH": str(tmp_path)})
    assert result.code == 6
    assert "no RPC backend" in result.errors[0]
    assert 'CMAKE_ARGS="-DGGML_RPC=ON"' in result.errors[1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_front_never_maps_libllama(bare: Command) -> None:
    with serving(bare, "--port", "0", *CPU) as (running, _said, child):
        assert "libllama" not in Path(f"/proc/{running.pid}/maps").read_text()
        assert "libllama" in Path(f"/proc/{child.pid}/maps").read_text()
        running.process.kill()
