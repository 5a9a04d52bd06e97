"""The address of an RPC server, and whether anybody answers there.

Knows HOST:PORT and the first words of llama.cpp's RPC protocol; refuses to know what the server offers. llama.cpp ends
its process when it cannot connect, and waits for ever on a server that is busy with another program.
"""

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mixchat.errors import EngineError, UsageError

PATIENCE: Final = 3.0
"""Seconds that a server has for a connection, and again for its first answer."""

MAX_PORT: Final = 65535
_ENDPOINT: Final = re.compile(r"([A-Za-z0-9._-]{1,253}):([0-9]{1,5})")
# The command HELLO (always 14), the size of what follows, and no capabilities: ggml-rpc.cpp, struct rpc_msg_hello_req.
_HELLO: Final = b"\x0e" + (24).to_bytes(8, "little") + bytes(24)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An RPC server: the IPv4 address or name of its machine, and its port."""

    host: str
    port: int

    def __str__(self) -> str:
        """As a person writes it."""
        return f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Read HOST:PORT.

    Raises:
        UsageError: It is something else; llama.cpp has no IPv6 here.
    """
    match = _ENDPOINT.fullmatch(text.strip())
    if match is None or not 0 < int(match[2]) <= MAX_PORT:
        raise UsageError(f"{text!r} is not an RPC server.", "Write HOST:PORT with an IPv4 address or a name.")
    return Endpoint(match[1], int(match[2]))


def resolve(endpoint: Endpoint) -> Endpoint:
    """The same with the host's IPv4 address, so that one server has one name.

    Raises:
        EngineError: No such host is known.
    """
    try:
        address = socket.getaddrinfo(endpoint.host, endpoint.port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    except OSError as error:
        raise EngineError(f"The host {endpoint.host} of an RPC server is not known.", "Check its name.") from error
    return Endpoint(str(address[0]), endpoint.port)


def is_open(endpoint: Endpoint, seconds: float = PATIENCE) -> bool:
    """Whether a TCP connection can be made."""
    with suppress(OSError), socket.create_connection((endpoint.host, endpoint.port), seconds):
        return True
    return False


def need_answer(endpoint: Endpoint) -> None:
    """Greet the server and wait for any answer; whether its version fits is llama.cpp's to say.

    Raises:
        EngineError: Nobody is there, or something else, or a server whose one client is another.
    """
    try:
        with socket.create_connection((endpoint.host, endpoint.port), PATIENCE) as connection:
            _greet(connection, endpoint)
    except OSError as error:
        raise EngineError(
            f"No RPC server answers at {endpoint}.", f"Start one there: mixchat rpc-worker --port {endpoint.port}"
        ) from error


def _greet(connection: socket.socket, endpoint: Endpoint) -> None:
    connection.settimeout(PATIENCE)
    try:
        connection.sendall(_HELLO)
        answer = connection.recv(1)
    except TimeoutError as error:
        raise EngineError(
            f"What listens at {endpoint} does not answer: it serves another program, or is no RPC server.",
            "A server serves one at a time: end the other program, or start another: mixchat rpc-worker --port PORT",
        ) from error
    except ConnectionError:
        answer = b""
    if not answer:
        raise EngineError(
            f"What answers at {endpoint} is no RPC server, or one of another version of llama.cpp.",
            "Install the same version of mixchat and llama-cpp-python on both machines.",
        )
