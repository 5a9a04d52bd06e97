"""This machine as an RPC device: a child process that serves it.

Knows addresses, ports and the child; refuses to know what clients load. llama.cpp's server has no authentication and
no encryption, serves one client at a time, and can be crashed by a hostile one: so it is no part of this process.
"""

import errno
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Final

from mixchat.engine import protocol
from mixchat.engine.client import worker_environment
from mixchat.engine.death import Life, died, reap
from mixchat.engine.endpoint import MAX_PORT, Endpoint, is_open, resolve
from mixchat.engine.events import DeviceInfo
from mixchat.errors import EngineDied, EngineError, InUse, UsageError

_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_CONNECT_SECONDS: Final = 1.0
_READ: Final = 65536
_ANY: Final = "0.0.0.0"  # noqa: S104 - recognised, and only used when asked for
_LOOPBACK: Final = "127."


@dataclass(frozen=True, slots=True)
class Offer:
    """What is to be served: where, by how many threads, and which device; empty takes a GPU, else the CPU."""

    endpoint: Endpoint
    threads: int
    device: str = ""


class RpcServer:
    """A serving child process; use `start`, `wait` and, whatever happens, `close`.

    Args:
        offer: Port 0 takes a free one.
        environ: Of this process.
    """

    def __init__(self, offer: Offer, environ: Mapping[str, str]) -> None:
        self._offer = offer
        self._environ = worker_environment(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - until close
        self._doing = "starting"

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> tuple[Endpoint, DeviceInfo]:
        """Serve; returns where, as an IPv4 address, and what.

        Raises:
            UsageError: The address is not one of this machine's.
            InUse: Another process has the port.
            EngineError: There is no such device, or this build of llama.cpp has no RPC backend.
            EngineDied: The child ended.
        """
        endpoint = _free(self._offer.endpoint)
        arguments = (endpoint.host, str(endpoint.port), str(self._offer.threads), self._offer.device)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mixchat.engine.worker.serve_rpc", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environ,
            process_group=0,
        )
        device = self._device(self._process)
        self._wait_until_open(endpoint, self._process)
        self._doing = "serving"
        return endpoint, device

    def wait(self) -> EngineDied:
        """Wait until the child ends by itself; returns why."""
        if self._process is not None:
            self._process.wait()
        return self._died()

    def close(self) -> None:
        """End the child, at once, and forget its log."""
        if self._process is not None:
            self._process.kill()
            self._reap()
        self._log.close()

    def log(self) -> str:
        """What llama.cpp's server said, not cleaned for a terminal."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")

    def _device(self, process: subprocess.Popen[bytes]) -> DeviceInfo:
        """The child's one frame."""
        frames = protocol.FrameBuffer()
        while process.stdout is not None and (data := os.read(process.stdout.fileno(), _READ)):
            for body in frames.feed(data):
                _id, message = protocol.decode(body)
                if isinstance(message, protocol.Failed):
                    raise protocol.error_of(message)
                if isinstance(message, protocol.Devices):
                    return message.devices[0]
        raise self._died()

    def _wait_until_open(self, endpoint: Endpoint, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _START_SECONDS
        while not is_open(endpoint, _CONNECT_SECONDS):
            if process.poll() is not None or time.monotonic() > end:
                raise self._died()
            time.sleep(_POLL_SECONDS)

    def _died(self) -> EngineDied:
        return died(Life("The RPC server", self._doing, self.log()), self._reap())

    def _reap(self) -> int | None:
        process, self._process = self._process, None
        return reap(process) if process is not None else None


def is_loopback(endpoint: Endpoint) -> bool:
    """Whether only this machine can reach it; `endpoint` has an IPv4 address."""
    return endpoint.host.startswith(_LOOPBACK)


def reached_as(endpoint: Endpoint) -> Endpoint:
    """What others write to reach it: the machine's name where it serves every address."""
    return Endpoint(socket.gethostname(), endpoint.port) if endpoint.host == _ANY else endpoint


def _free(wanted: Endpoint) -> Endpoint:
    """The wanted address in numbers, its port free at this moment.

    llama.cpp's server cannot tell why it does not start, so the port is tried here first.
    """
    if not 0 <= wanted.port <= MAX_PORT:
        raise UsageError(f"{wanted.port} is not a port.", "Give --port a number from 1 to 65535.")
    try:
        address = resolve(wanted)
    except EngineError as error:
        raise UsageError(f"{wanted.host} is no address of this machine.", "Give --host an IPv4 address.") from error
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise _refused(error, address) from error
        return Endpoint(address.host, probe.getsockname()[1])


def _refused(error: OSError, endpoint: Endpoint) -> InUse | UsageError:
    match error.errno:
        case errno.EADDRINUSE:
            return InUse(f"Another process has port {endpoint.port} of {endpoint.host}.", "Take another: --port PORT")
        case errno.EACCES:
            return UsageError(f"Port {endpoint.port} is the system's.", "Take one above 1023: --port PORT")
        case _:
            return UsageError(f"{endpoint.host} is no address of this machine.", "Give --host an IPv4 address.")
