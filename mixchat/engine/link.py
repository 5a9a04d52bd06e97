"""The worker's process and the pipes to it: frames out, frames in, cancels between them, and what killed it.

Knows request ids and which answer is a request's last; refuses to know what is asked. One request at a time, or several
of `_many`; while these run, a single one may be asked in between.
"""

import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final, cast

from mixchat.engine import protocol
from mixchat.engine.death import Life, died, reap
from mixchat.engine.events import Finished, Loaded, StateKept, StateRestored
from mixchat.engine.tracing import Traced
from mixchat.errors import EngineDied

_READ: Final = 65536
_LAST: Final = (
    *(protocol.Devices, protocol.Tokens, protocol.Texts, protocol.Rendered, protocol.Probed, protocol.Measured),
    *(protocol.Cancelled, protocol.Evaluated, protocol.GrammarFits, Loaded, Finished, StateKept, StateRestored, Traced),
)


class WorkerLink:
    """A worker process, started at the first request.

    Args:
        environ: Its whole environment.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None
        self._frames = protocol.FrameBuffer()
        self._last_id = 0
        self._running: list[int] = []
        self._aside: deque[tuple[int, object]] = deque()
        self._interrupted = False
        self._writing = False
        self._cancel_waits = False
        self._doing = "starting"
        self._servers: tuple[str, ...] = ()
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return self._process.pid if self._process else None

    def alive(self) -> bool:
        """See Engine."""
        if self._process is not None and self._process.poll() is not None:
            self._end()
        return self._process is not None

    def interrupt(self) -> bool:
        """See Engine."""
        self._interrupted = True
        return self._cancel(self._running)

    def close(self) -> None:
        """See Engine."""
        if self._process is not None:
            self._process.kill()
            self._end()
        if self._log is not None:
            self._log.close()
            self._log = None

    def log(self) -> str:
        """See Engine."""
        if self._log is None:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")

    def _one(self, message: object, doing: str) -> object:
        *_events, last = self._ask(message, doing)
        return last

    def _ask(self, message: object, doing: str) -> Iterator[object]:
        """Send a request and yield its answers up to the last one."""
        process = self._process or self._start()
        self._doing = doing
        mine = self._begin()
        try:
            self._write(protocol.encode(mine, message))
            while True:
                request_id, answer = self._receive(process)
                if request_id != mine:
                    self._set_aside(request_id, answer)
                    continue
                if isinstance(answer, protocol.Failed):
                    raise protocol.error_of(answer)
                yield answer
                if isinstance(answer, _LAST):
                    return
        except GeneratorExit:
            self._cancel((mine,))
            raise
        finally:
            self._running.remove(mine)

    def _many(self, messages: Iterator[object | None], most: int) -> Iterator[tuple[int, object]]:
        """Keep up to `most` requests running; yields each answer, or an error as the last one, with its index.

        Args:
            messages: None stands for "not yet": then what runs is waited for.
            most: Requests at once.
        """
        process = self._process or self._start()
        self._interrupted = False
        running: dict[int, int] = {}
        count = 0
        try:
            while (count := self._feed(messages, most, running, count)) >= 0 or running:
                request_id, answer = self._aside.popleft() if self._aside else self._receive(process)
                if request_id not in running:
                    continue
                index = running[request_id]
                if isinstance(answer, (protocol.Failed, *_LAST)):
                    del running[request_id]
                    self._running.remove(request_id)
                yield index, protocol.error_of(answer) if isinstance(answer, protocol.Failed) else answer
        finally:
            self._cancel(running)
            self._running = [each for each in self._running if each not in running]
            self._aside.clear()

    def _feed(self, messages: Iterator[object | None], most: int, running: dict[int, int], count: int) -> int:
        """Send requests while fewer than `most` run; returns how many were sent so far, or -1 at the end of all."""
        while count >= 0 and len(running) < most and not self._interrupted:
            try:
                message = next(messages)
            except StopIteration:
                return -1
            if message is None and running:
                return count
            if message is not None and not self._interrupted:
                request_id = self._begin()
                running[request_id] = count
                self._write(protocol.encode(request_id, message))
                count += 1
        return -1 if self._interrupted else count

    def _begin(self) -> int:
        """The id of a new request; from now on an interrupt stops it."""
        self._last_id += 1
        self._running.append(self._last_id)
        return self._last_id

    def _set_aside(self, request_id: int, answer: object) -> None:
        """Keep what arrives for one of `_many` while something else is asked."""
        if request_id in self._running:
            self._aside.append((request_id, answer))

    def _cancel(self, request_ids: Iterable[int]) -> bool:
        """Stop requests, soon; False when there are none. While a frame is being written it waits for its end."""
        cancels = b"".join(protocol.encode(each, protocol.Cancel()) for each in tuple(request_ids))
        if not cancels or self._process is None:
            return False
        if self._writing:
            self._cancel_waits = True
        else:
            self._write(cancels)
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        self._frames = protocol.FrameBuffer()
        self._log = self._log or cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - until close
        self._log_start = len(self.log())
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mixchat.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environ,
            process_group=0,
        )
        return self._process

    def _write(self, frame: bytes) -> None:
        """Write a frame; an interrupt that arrives meanwhile goes out behind it."""
        if self._process is None or self._process.stdin is None:
            return
        self._writing = True
        try:
            data = memoryview(frame)
            while data:
                data = data[os.write(self._process.stdin.fileno(), data) :]
        except BrokenPipeError:
            raise self._died() from None
        finally:
            self._writing = False
        if self._cancel_waits:
            self._cancel_waits = False
            self._cancel(self._running)

    def _receive(self, process: subprocess.Popen[bytes]) -> tuple[int, object]:
        """The next frame's request id and message."""
        data = b""
        while True:
            for body in self._frames.feed(data):
                return protocol.decode(body)
            if process.stdout is None or not (data := os.read(process.stdout.fileno(), _READ)):
                raise self._died()

    def _died(self) -> EngineDied:
        servers, code = self._servers, self._end()
        return died(Life("The engine", self._doing, self.log()[self._log_start :], servers), code)

    def _end(self) -> int | None:
        """Close the pipes and wait for the process; returns its exit code, negative for a signal."""
        process, self._process, self._servers = self._process, None, ()
        return reap(process) if process is not None else None
