"""The worker's loop: read requests, run batch steps, answer.

Knows which function answers which message; refuses to know who sent it. A thread reads, so that a cancel arrives while
llama.cpp computes; everything else happens in the main thread.
"""

import os
import queue
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

from mixchat.engine import protocol
from mixchat.engine.events import LoadRequest, TraceRequest
from mixchat.engine.tracing import AskTrace, Traced, routed
from mixchat.engine.worker.bindings import AbortFlag, llama
from mixchat.engine.worker.cancels import Cancels
from mixchat.engine.worker.devices import list_devices
from mixchat.engine.worker.grammar import check_grammar
from mixchat.engine.worker.loading import LoadCancelled, Model, load
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.rpc import register
from mixchat.engine.worker.scheduler import Scheduler
from mixchat.engine.worker.snapshots import Snapshots
from mixchat.engine.worker.tracing import Tracer
from mixchat.engine.worker.vocabulary import Vocabulary
from mixchat.errors import EngineError, MixchatError
from mixchat.routing.choices import Choices

_READ = 65536


class Worker:
    """Answers requests that arrive on one descriptor with events on another."""

    def __init__(self, requests: int, events: int) -> None:
        self._requests = requests
        self._events = events
        self._inbox: queue.SimpleQueue[tuple[int, object]] = queue.SimpleQueue()
        self._abort = AbortFlag()
        self._cancels = Cancels(self._abort)
        self._stopped: set[int] = set()
        self._log = Log()
        self._model: Model | None = None
        self._vocabulary: Vocabulary | None = None
        self._scheduler: Scheduler | None = None
        self._snapshots: Snapshots | None = None
        self._tracer: Tracer | None = None

    def run(self) -> None:
        """Serve until the other side closes; never returns."""
        llama.llama_backend_init()
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            for request_id, message in self._arrived():
                self._stopped |= self._cancels.take()
                self._answer(request_id, message)
            self._stopped |= self._cancels.take()
            if self._scheduler is not None:
                self._scheduler.cancel(self._stopped)
                if self._scheduler.busy:
                    self._scheduler.step()

    def _read(self) -> None:
        """The reading thread: requests to the inbox, cancels at once; its end, whatever the cause, is the worker's."""
        try:
            buffer = protocol.FrameBuffer()
            while data := os.read(self._requests, _READ):
                for body in buffer.feed(data):
                    request_id, message = protocol.decode(body)
                    if isinstance(message, protocol.Cancel):
                        self._cancels.add(request_id)
                    self._inbox.put((request_id, message))
        except protocol.ProtocolError:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _arrived(self) -> Iterator[tuple[int, object]]:
        """What waits in the inbox; waits itself when there is nothing to compute."""
        if self._scheduler is None or not self._scheduler.busy:
            yield self._inbox.get()
        while not self._inbox.empty():
            yield self._inbox.get()

    def _send(self, request_id: int, message: object) -> None:
        if isinstance(message, MixchatError):
            message = protocol.failure(message)
        data = memoryview(protocol.encode(request_id, message))
        try:
            while data:
                data = data[os.write(self._events, data) :]
        except BrokenPipeError:
            os._exit(0)

    def _answer(self, request_id: int, message: object) -> None:
        try:
            self._dispatch(request_id, message)
        except LoadCancelled:
            self._send(request_id, protocol.Cancelled())
        except MixchatError as error:
            self._send(request_id, error)

    def _dispatch(self, request_id: int, message: object) -> None:
        match message:
            case protocol.Cancel():
                if self._scheduler is not None:
                    self._scheduler.cancel({request_id})
                self._stopped.discard(request_id)
            case protocol.AskLoad(request):
                if request_id in self._stopped:
                    raise LoadCancelled
                self._load(request_id, request)
            case protocol.AskGenerate(request):
                self._ready().start(request_id, request)
            case protocol.AskEvaluate(tokens):
                self._ready().evaluate(request_id, tokens)
            case AskTrace(request):
                self._trace(request_id, request)
            case protocol.AskKeepState() | protocol.AskRestoreState():
                self._send(request_id, self._state(message, request_id))
            case _:
                self._send(request_id, self._reply(message))

    def _ready(self) -> Scheduler:
        if self._scheduler is None:
            raise EngineError("No model is loaded.", "Load one first.")
        return self._scheduler

    def _reply(self, message: object) -> object:
        """The answer to a request that has just one."""
        match message:
            case protocol.AskDevices(servers):
                in_use = self._model.servers if self._model is not None else frozenset()
                return protocol.Devices(list_devices(register(servers, in_use)))
            case protocol.AskTokens() | protocol.AskTexts() | protocol.AskGrammar():
                return self._read_text(message)
            case protocol.AskRender(source, messages, bos, eos):
                from mixchat.engine.worker.template import render  # noqa: PLC0415 - the mistral path needs no Jinja

                return protocol.Rendered(render(source, messages, bos, eos))
            case protocol.AskProbe(path, extra_buffers):
                from mixchat.engine.worker import probe  # noqa: PLC0415 - once per build and CPU

                return protocol.Probed(probe.answer(Path(path), self._log, extra_buffers=extra_buffers))
            case protocol.AskMeasure():
                from mixchat.engine.worker.measure import measure  # noqa: PLC0415 - once per build and device

                return measure(message)
            case _:
                raise protocol.ProtocolError(f"no request: {message!r}")

    def _read_text(self, message: protocol.AskTokens | protocol.AskTexts | protocol.AskGrammar) -> object:
        """What the vocabulary answers."""
        if self._vocabulary is None:
            raise EngineError("No model is loaded.", "Load one first.")
        match message:
            case protocol.AskTokens(pieces, prompt):
                return protocol.Tokens(self._vocabulary.tokens(pieces, prompt=prompt))
            case protocol.AskTexts(ids):
                return protocol.Texts(self._vocabulary.texts(ids))
            case protocol.AskGrammar(text):
                check_grammar(text, self._vocabulary)
                return protocol.GrammarFits()

    def _state(self, message: protocol.AskKeepState | protocol.AskRestoreState, request_id: int) -> object:
        if self._snapshots is None:
            raise EngineError("No model is loaded.", "Load one first.")
        how = self._snapshots.keep if isinstance(message, protocol.AskKeepState) else self._snapshots.restore
        asked_to_stop = request_id in self._stopped
        return how(message.path, message.key, message.build, lambda: asked_to_stop or self._abort.is_set())

    def _trace(self, request_id: int, request: TraceRequest) -> None:
        if self._tracer is None:
            raise EngineError("No model is loaded.", "Load one first.")

        def stopped() -> bool:
            self._stopped |= self._cancels.take()
            return request_id in self._stopped

        for event in self._tracer.trace(request, stopped):
            self._send(request_id, routed(event) if isinstance(event, Choices) else event)
        self._send(request_id, Traced())

    def _load(self, request_id: int, request: LoadRequest) -> None:
        if self._model is not None:
            self._model.free()
            self._model = self._scheduler = self._vocabulary = self._snapshots = self._tracer = None
        model = load(request, self._abort, self._log, lambda event: self._send(request_id, event))
        self._model = model
        self._vocabulary = Vocabulary(model.handle, model.vocab)
        if model.context is not None:
            self._scheduler = Scheduler(model, self._vocabulary, self._log, self._send)
            self._snapshots = Snapshots(model, self._scheduler, request, self._log)
            self._tracer = Tracer(model, request, self._abort, self._log)
