"""Load a model and its context through llama.cpp's low-level functions.

Knows how a LoadRequest becomes llama.cpp's parameters; refuses to know why it was chosen so.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mixchat.engine.events import Loaded, Loading, LoadRequest
from mixchat.engine.worker.bindings import AbortFlag, llama
from mixchat.engine.worker.devices import endpoints
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.placing import place
from mixchat.engine.worker.read_ahead import read_ahead
from mixchat.engine.worker.residence import residence
from mixchat.errors import AllocationFailed, BadModel, EngineError, UsageError
from mixchat.plan.values import CPU

_KV_TYPES: Final = {"f16": 1, "q8_0": 8, "q4_0": 2}
_LOAD_MODES: Final = {"copy": 0, "mmap": 1, "mlock": 3}
_LESS: Final = "Give it less: --ctx N, --vram SIZE, --expert-layers N, or --device cpu"
# What C++ says of a bad pattern: libstdc++, libc++.
_BAD_PATTERN: Final = re.compile(r"regular expression|[Tt]he expression contained|regex")
_PROGRESS_STEP: Final = 0.005


class LoadCancelled(Exception):
    """The load was stopped on request."""


@dataclass(slots=True)
class Model:
    """A loaded model.

    Attributes:
        handle: llama_model pointer.
        vocab: llama_vocab pointer.
        context: llama_context pointer; None when only the vocabulary is loaded.
        n_ctx: Tokens that fit the KV cache; 0 without a context.
        n_batch: Tokens of one batch.
        sequences: Sequences that share the KV cache.
        threads: Compute threads that were asked for.
        servers: RPC servers (IP:PORT) that hold a part of it.
        held: What llama.cpp points to while the model lives.
    """

    handle: Any
    vocab: Any
    context: Any
    n_ctx: int
    n_batch: int
    threads: int
    servers: frozenset[str] = frozenset()
    sequences: int = 1
    held: list[object] = field(default_factory=list)

    def free(self) -> None:
        """Give back all its memory."""
        if self.context is not None:
            llama.llama_free(self.context)
        llama.llama_model_free(self.handle)


def load(request: LoadRequest, abort: AbortFlag, log: Log, on_event: Callable[[Loading | Loaded], None]) -> Model:
    """Load what the request says, telling progress and at last `Loaded`.

    Raises:
        LoadCancelled: `abort` was set meanwhile.
        BadModel: llama.cpp refuses the file.
        UsageError: An override's pattern is no regular expression of C++'s.
        AllocationFailed: A device has no room for a part of it.
        EngineError: There is no such device, or the context could not be made.
    """
    started = time.monotonic()
    log.clear()
    progress = _Progress(abort, on_event)
    if request.read_ahead and not read_ahead(Path(request.path), progress):
        raise LoadCancelled
    model = _load_weights(request, abort, log, progress)
    if not request.vocab_only:
        _add_context(model, request, abort, log)
    load_ms = (time.monotonic() - started) * 1000
    on_event(Loaded(model.n_ctx, log.buffers(), load_ms, *residence(Path(request.path))))
    return model


class _Progress:
    """Turns fractions into events, at most one per half percent; says whether to go on."""

    def __init__(self, abort: AbortFlag, on_event: Callable[[Loading | Loaded], None]) -> None:
        self._abort = abort
        self._on_event = on_event
        self._last = -1.0

    def __call__(self, fraction: float) -> bool:
        if fraction >= self._last + _PROGRESS_STEP:
            self._last = fraction
            self._on_event(Loading(fraction))
        return not self._abort.is_set()


def _load_weights(request: LoadRequest, abort: AbortFlag, log: Log, progress: _Progress) -> Model:
    params = llama.llama_model_default_params()
    held = place(params, request)
    params.load_mode = _LOAD_MODES[request.load_mode]
    params.use_extra_bufts = request.extra_buffers
    params.vocab_only = request.vocab_only
    on_progress = llama.llama_progress_callback(lambda fraction, _data: bool(progress(fraction)))
    params.progress_callback = on_progress
    handle = llama.llama_model_load_from_file(request.path.encode(), params)
    if handle:
        vocab = llama.llama_model_get_vocab(handle)
        return Model(handle, vocab, None, 0, 0, request.threads, endpoints(request.devices), request.sequences, [held])
    if abort.is_set():
        raise LoadCancelled
    check_room(log, "the weights", _LESS)
    reason = log.reason() or "it gives no reason"
    if request.overrides and _BAD_PATTERN.search(reason):
        raise UsageError(f"A pattern of --override is no regular expression: {reason}.", "Correct the pattern.")
    raise BadModel(f"llama.cpp cannot load the model: {reason}", "mixchat --debug ... shows llama.cpp's whole log.")


def check_room(log: Log, what: str, hint: str) -> None:
    """Raise AllocationFailed when the log says that a buffer could not be allocated.

    Args:
        log: Of what failed.
        what: Needed the room.
        hint: What to do about it.
    """
    device = log.lacking_room()
    if device is not None:
        where = "RAM has" if device == CPU else f"{device or 'A device'} has"
        message = f"{where} no room for {what}: {log.reason()}."
        raise AllocationFailed(message, hint, device)


def context_params(request: LoadRequest, context: int, abort: AbortFlag) -> Any:  # noqa: ANN401 - a ctypes structure
    """How any context of that model computes; `context` tokens fit it."""
    params = llama.llama_context_default_params()
    params.n_ctx = context
    params.n_batch = params.n_ubatch = min(request.ubatch, context)
    params.n_threads = params.n_threads_batch = request.threads
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
    params.type_k = params.type_v = _KV_TYPES[request.kv_type]
    params.abort_callback = abort.callback
    params.abort_callback_data = abort.data
    params.no_perf = True
    return params


def _add_context(model: Model, request: LoadRequest, abort: AbortFlag, log: Log) -> None:
    params = context_params(request, request.context, abort)
    if request.sequences > 1:
        params.n_batch = max(params.n_batch, request.sequences + 1)
        params.kv_unified = True
    params.n_seq_max = request.sequences
    params.n_outputs_max = max(request.outputs, request.sequences)
    context = llama.llama_init_from_model(model.handle, params)
    if not context:
        model.free()
        check_room(log, "the KV cache or the computation", _LESS)
        reason = log.reason() or "it gives no reason"
        raise EngineError(f"llama.cpp cannot make a context: {reason}", "Try a smaller one: --ctx 4096")
    model.context = context
    model.n_ctx = llama.llama_n_ctx(context)
    model.n_batch = llama.llama_n_batch(context)
