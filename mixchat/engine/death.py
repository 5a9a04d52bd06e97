"""What killed a process that ran llama.cpp.

Knows signals, and the last words that llama.cpp and Python leave in their log; refuses to know who ran it and why.
"""

import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mixchat.engine.endpoint import is_open, parse_endpoint
from mixchat.errors import EngineDied

_HINT: Final = "The same command with --debug shows llama.cpp's log."
_ALIVE_SECONDS: Final = 1.0
_END_SECONDS: Final = 2.0
_CAUSES: Final = {
    signal.SIGBUS: "the model file changed or could not be read while it was in use",
    signal.SIGKILL: "killed from outside, most often because the machine ran out of memory",
    signal.SIGSEGV: "a fault inside llama.cpp",
    signal.SIGILL: "this build of llama.cpp uses instructions that this CPU lacks",
    signal.SIGABRT: "llama.cpp gave up",
    signal.SIGTERM: "terminated from outside",
    # Only the worker sets this alarm, for llama.cpp's grammar sampler.
    signal.SIGVTALRM: "the grammar has too many ways to go on; write it without rules that match the same text twice",
}
# ggml-rpc.cpp: a client's last words when its server is gone or speaks another version, the endpoint where it is told.
_SERVER_GONE: Final = re.compile(
    r"Remote RPC server crashed or returned malformed response"
    r"|Failed to connect to (\S+:\d+)|RPC handshake failed for (\S+:\d+)"
)


@dataclass(frozen=True, slots=True)
class Life:
    """A process while it lived: what it was, what it was doing, what it wrote, and the RPC servers that it used."""

    who: str
    doing: str
    log: str
    servers: Sequence[str] = ()


def reap(process: subprocess.Popen[bytes]) -> int | None:
    """Close a process's pipes, which ends it, and wait; returns its exit code, negative for a signal."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        return process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def died(life: Life, code: int | None) -> EngineDied:
    """The error for a process that ended by itself.

    Args:
        life: What is known of it.
        code: Its exit code, negative for a signal; None when it is not known.
    """
    number = -code if code is not None and code < 0 else 0
    if number == signal.SIGABRT and (gone := list(_SERVER_GONE.finditer(life.log))):
        return _server_gone(gone[-1], life)
    words = _last_words(number, life.log)
    if not number:
        return EngineDied(f"{life.who} ended while {life.doing}{words}.", _HINT, 0)
    name, cause = signal.Signals(number).name, _CAUSES.get(signal.Signals(number), "by a signal")
    return EngineDied(f"{life.who} was killed by {name} while {life.doing}: {cause}{words}.", _HINT, number)


def _server_gone(found: "re.Match[str]", life: Life) -> EngineDied:
    """llama.cpp names the server only when it connects; otherwise those that refuse a connection now are it."""
    named = [group for group in found.groups() if group]
    closed = [server for server in life.servers if not is_open(parse_endpoint(server), _ALIVE_SECONDS)]
    names = named or closed or list(life.servers)
    what = f"The RPC server at {' or '.join(names)}" if names else "An RPC server"
    return EngineDied(
        f"{what} went away while {life.doing}, or it runs another version of llama.cpp.",
        "See whether it still runs, and start it again there: mixchat rpc-worker",
        signal.SIGABRT,
    )


def _last_words(number: int, log: str) -> str:
    """llama.cpp's or Python's last line, where it explains the end."""
    lines = [line for line in log.splitlines() if line.strip()]
    if number == signal.SIGABRT:
        lines = [line for line in lines if "GGML_ASSERT" in line or "what()" in line or "rror" in line]
    elif number:
        return ""
    return f" ({lines[-1].strip()})" if lines else ""
