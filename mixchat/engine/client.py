"""The worker's client: starts it, asks, listens, and says what killed it.

Knows processes and pipes; refuses to know what the answers are for. llama.cpp ends its process on a bad file, a full
card or a CPU fault, and Python cannot catch that; here it is one line.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final, cast

from mixchat.chat.messages import Message, Piece
from mixchat.engine import protocol
from mixchat.engine.build import build_identity
from mixchat.engine.death import Life, died
from mixchat.engine.endpoint import parse_endpoint
from mixchat.engine.events import (
    DeviceInfo,
    Finished,
    GenerateEvent,
    GenerateRequest,
    Loaded,
    Loading,
    LoadRequest,
    StateKept,
    StateKey,
    StateRestored,
    Token,
)
from mixchat.errors import BadTemplate, EngineDied

_READ: Final = 65536
_END_SECONDS: Final = 2.0
_SECRETS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "MIXCHAT_TOKEN")
_LAST: Final = (
    *(protocol.Devices, protocol.Tokens, protocol.Rendered, protocol.Probed, protocol.Measured, protocol.Cancelled),
    *(Loaded, Finished, StateKept, StateRestored),
)


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that llama.cpp's libraries read when they load.

    libgomp spins at its barriers by default, and one busy neighbour then slows decoding 30-fold; a thousand rounds,
    then sleep, keeps the quiet speed and a third of it under load. A value that the user set stays. No secrets go in.
    """
    ours = {name: value for name, value in environ.items() if name not in _SECRETS}
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & ours.keys():
        ours["GOMP_SPINCOUNT"] = "1000"
    return ours | {"GGML_NO_BACKTRACE": "1", "PYTHONUTF8": "1"}


class WorkerClient:
    """An Engine in a child process, started at the first request."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = worker_environment(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None
        self._frames = protocol.FrameBuffer()
        self._last_id = 0
        self._current: int | None = None
        self._writing = False
        self._cancel_waits = False
        self._doing = "starting"
        self._servers: tuple[str, ...] = ()
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return self._process.pid if self._process else None

    def devices(self, rpc: Sequence[str] = ()) -> tuple[DeviceInfo, ...]:
        """See Engine."""
        wanted = tuple(str(parse_endpoint(server)) for server in rpc)
        self.alive()
        self._servers = tuple(dict.fromkeys((*self._servers, *wanted)))
        answer = self._one(protocol.AskDevices(wanted), "looking for devices")
        assert isinstance(answer, protocol.Devices)  # noqa: S101 - the protocol's promise
        return answer.devices

    def load(self, request: LoadRequest) -> Iterator[Loading | Loaded]:
        """See Engine."""
        for event in self._ask(protocol.AskLoad(request), "loading the model"):
            if isinstance(event, Loading | Loaded):
                yield event

    def tokenize(self, pieces: Sequence[Piece], *, prompt: bool) -> tuple[tuple[int, ...], ...]:
        """See Engine."""
        answer = self._one(protocol.AskTokens(tuple(pieces), prompt), "tokenizing")
        assert isinstance(answer, protocol.Tokens)  # noqa: S101 - the protocol's promise
        return answer.ids

    def render(self, template: str, messages: Sequence[Message], bos: str, eos: str) -> str:
        """See Engine."""
        try:
            answer = self._one(protocol.AskRender(template, tuple(messages), bos, eos), "rendering the template")
        except EngineDied as error:
            if error.signal != signal.SIGALRM:
                raise
            raise BadTemplate(
                "The model's chat template does not come to an end.",
                "Its file is broken or hostile; try another conversion of this model.",
            ) from error
        assert isinstance(answer, protocol.Rendered)  # noqa: S101 - the protocol's promise
        return answer.text

    def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
        """See Engine."""
        for event in self._ask(protocol.AskGenerate(request), "evaluating the prompt"):
            if isinstance(event, Token):
                self._doing = "generating"
            yield event  # type: ignore[misc]  # the worker answers a generate request with these only

    def keep_state(self, path: str, key: StateKey) -> StateKept:
        """See Engine; an interrupt keeps nothing."""
        answer = self._one(protocol.AskKeepState(path, key, build_identity()), "keeping the evaluated tokens")
        assert isinstance(answer, StateKept)  # noqa: S101 - the protocol's promise
        return answer

    def restore_state(self, path: str, key: StateKey) -> StateRestored:
        """See Engine."""
        answer = self._one(protocol.AskRestoreState(path, key, build_identity()), "restoring evaluated tokens")
        assert isinstance(answer, StateRestored)  # noqa: S101 - the protocol's promise
        return answer

    def probe(self, path: str, *, extra_buffers: bool) -> tuple[float, ...]:
        """Logits of the self test's tiny model, written to `path` when it is not there."""
        answer = self._one(protocol.AskProbe(path, extra_buffers), "testing itself")
        assert isinstance(answer, protocol.Probed)  # noqa: S101 - the protocol's promise
        return answer.logits

    def measure(self, asked: protocol.AskMeasure) -> protocol.Measured:
        """How fast a device computes; takes about a second."""
        answer = self._one(asked, "measuring this machine")
        assert isinstance(answer, protocol.Measured)  # noqa: S101 - the protocol's promise
        return answer

    def alive(self) -> bool:
        """See Engine."""
        if self._process is not None and self._process.poll() is not None:
            self._end()
        return self._process is not None

    def interrupt(self) -> bool:
        """See Engine."""
        if self._current is None or self._process is None:
            return False
        if self._writing:
            self._cancel_waits = True
        else:
            self._write(protocol.encode(self._current, protocol.Cancel()))
        return True

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
        self._last_id += 1
        mine = self._current = self._last_id
        try:
            self._write(protocol.encode(mine, message))
            while True:
                for request_id, answer in self._receive(process):
                    if request_id != mine:
                        continue
                    if isinstance(answer, protocol.Failed):
                        raise protocol.error_of(answer)
                    yield answer
                    if isinstance(answer, _LAST):
                        self._current = None
                        return
        except GeneratorExit:
            self.interrupt()
            raise
        finally:
            self._current = None

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
            self.interrupt()

    def _receive(self, process: subprocess.Popen[bytes]) -> Iterator[tuple[int, object]]:
        if process.stdout is None or not (data := os.read(process.stdout.fileno(), _READ)):
            raise self._died()
        return (protocol.decode(body) for body in self._frames.feed(data))

    def _died(self) -> EngineDied:
        servers, code = self._servers, self._end()
        return died(Life("The engine", self._doing, self.log()[self._log_start :], servers), code)

    def _end(self) -> int | None:
        """Close the pipes and wait for the process; returns its exit code, negative for a signal."""
        process, self._process, self._servers = self._process, None, ()
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            return process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
