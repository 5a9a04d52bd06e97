"""Runs the `mixchat` command as a user does, and watches its processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import psutil

T = TypeVar("T")

HANG_SECONDS = 90.0
WORKER = "mixchat.engine.worker"
_PASSED = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")
_SHELL = 'mixchat() { "$PYTHON" -m mixchat "$@"; }\n'


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended; `code` is negative for a signal, as subprocess has it."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def errors(self) -> list[str]:
        return self.stderr.decode().splitlines()


class Running:
    """A command that runs; its stdout is read by `read_some` and `finish`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.said = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def worker(self) -> psutil.Process:
        """The worker, as soon as there is one that runs our module."""
        return wait_for(lambda: next(iter(workers(self.pid)), None))

    def read_some(self) -> bytes:
        """Wait for output."""
        assert self.process.stdout is not None
        self.said += os.read(self.process.stdout.fileno(), 4096)
        return self.said

    def finish(self) -> Result:
        stdout, stderr = self.process.communicate(timeout=HANG_SECONDS)
        return Result(self.process.returncode, self.said + stdout, stderr)


class Command:
    """The command with an environment of its own.

    Args:
        home: MIXCHAT_HOME.
        folder: The current folder of every run.
        extra: More variables.
    """

    def __init__(self, home: Path, folder: Path, **extra: str) -> None:
        self.folder = folder
        self.environ = {name: os.environ[name] for name in _PASSED if name in os.environ}
        self.environ |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        self.environ |= {"HOME": str(folder), "LANG": "C.UTF-8", "TERM": "xterm-256color", "COLUMNS": "80"}
        self.environ |= {"MIXCHAT_HOME": str(home), "PYTHON": sys.executable, **extra}

    def run(
        self,
        *args: str | Path,
        stdin: bytes | None = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run to the end; stdin None is closed at once, like /dev/null."""
        done = subprocess.run(
            [sys.executable, "-m", "mixchat", *map(str, args)],
            input=stdin or b"",
            capture_output=True,
            env={**self.environ, **(env or {})},
            cwd=cwd or self.folder,
            timeout=HANG_SECONDS,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def shell(self, script: str) -> Result:
        """Run a script of bash in which `mixchat` is the command."""
        done = subprocess.run(
            ["bash", "-c", _SHELL + script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environ,
            cwd=self.folder,
            timeout=HANG_SECONDS,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def start(self, *args: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> Iterator[Running]:
        """Start it in a session of its own; it is killed at the end of the block if it still runs."""
        with subprocess.Popen(
            [sys.executable, "-m", "mixchat", *args],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
            cwd=self.folder,
            start_new_session=True,
            preexec_fn=_default_signals,  # noqa: PLW1509 - a background job would hand on an ignored SIGINT
        ) as process:
            try:
                yield Running(process)
            finally:
                process.kill()


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def workers(pid: int) -> list[psutil.Process]:
    """The workers of a process."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return WORKER in process.cmdline()
    except psutil.Error:
        return False


def gone(process: psutil.Process) -> bool:
    """Whether a process ended; one that waits for a parent to notice has."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(probe: Callable[[], T | None], seconds: float = 30.0) -> T:
    """The first result of `probe` that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := probe():
            return found
        time.sleep(0.005)
    raise AssertionError(f"nothing came within {seconds} s")


def wait_for_busy(process: psutil.Process, seconds: float = 3.0) -> None:
    """Wait until a process has used so many seconds of CPU time: a worker is past loading the demo model then."""
    wait_for(lambda: sum(process.cpu_times()[:2]) > seconds, 30.0 + 10 * seconds)
