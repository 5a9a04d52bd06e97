"""Evaluates tokens in a second, short-lived context on the loaded model, to see what its routers choose.

Knows that context; refuses to know the chat's own, which has no callback and keeps its KV cache.

llama.cpp drops the tokens whose logits nobody wants before the last layer's router, so all tokens are marked as
outputs. That costs memory (`mixchat.plan.tracing`: logits of a batch, on the head's device and in RAM), but no
time: the computation ends with the last layer's weights, and the logits are never computed. Embeddings in their place
would reserve the logits as well (`output_reserve` in llama-context.cpp).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

from mixchat.engine.events import LoadRequest, Prefilling, TraceRequest
from mixchat.engine.worker.bindings import AbortFlag, llama
from mixchat.engine.worker.loading import Model, check_room, context_params
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.taps import Taps
from mixchat.errors import EngineError
from mixchat.plan.memory import round_context
from mixchat.routing.choices import Choices

_ABORTED: Final = 2
_LESS: Final = "Trace a shorter text, or load the model with less: --ctx N, --vram SIZE"


class Tracer:
    """Traces the routers of one loaded model.

    Args:
        model: With its context.
        request: How it was loaded; the second context takes its ubatch, its KV cache's type and its threads.
        abort: Stops a computation.
        log: llama.cpp's.
    """

    def __init__(self, model: Model, request: LoadRequest, abort: AbortFlag, log: Log) -> None:
        self._model = model
        self._request = request
        self._abort = abort
        self._log = log

    def trace(self, request: TraceRequest, stopped: Callable[[], bool]) -> Iterator[Prefilling | Choices]:
        """Evaluate the tokens from the first one; yields each batch's choices, then its progress.

        Args:
            request: The tokens and the layers.
            stopped: Whether to end before all is done; lets computations run again.

        Raises:
            AllocationFailed: A device has no room for the second context.
            EngineError: There are no tokens, or they cannot be evaluated.
        """
        total = len(request.tokens)
        if not total:
            raise EngineError("There is nothing to trace.", "Give the text that is to be evaluated.")
        taps = Taps(request.layers, llama.llama_model_n_layer(self._model.handle) - 1)
        with ExitStack() as owned:
            owned.callback(taps.release)
            context = self._context(total, taps)
            owned.callback(llama.llama_free, context)
            batch = llama.llama_batch_init(llama.llama_n_batch(context), 0, 1)
            owned.callback(llama.llama_batch_free, batch)
            done = 0
            yield Prefilling(0, total)
            while done < total and not stopped():
                count = _fill(batch, request.tokens, done, llama.llama_n_batch(context))
                if self._evaluate(context, batch, taps):
                    yield from taps.choices(done, count)
                    done += count
                    yield Prefilling(done, total)

    def _context(self, tokens: int, taps: Taps) -> Any:  # noqa: ANN401 - a pointer
        self._log.clear()
        size = round_context(tokens)
        params = context_params(self._request, size, self._abort)
        params.n_outputs_max = min(params.n_ubatch, tokens)
        params.cb_eval = taps.callback
        context = llama.llama_init_from_model(self._model.handle, params)
        if not context:
            raise self._error("make a second context")
        return context

    def _evaluate(self, context: Any, batch: Any, taps: Taps) -> bool:  # noqa: ANN401 - pointers
        """One batch; False when it was aborted."""
        taps.forget()
        code = llama.llama_decode(context, batch)
        if code == _ABORTED:
            return False
        taps.check()
        if code != 0:
            raise self._error("evaluate the text")
        return True

    def _error(self, what: str) -> EngineError:
        """Raise AllocationFailed for want of memory, or return what else it was."""
        check_room(self._log, "the trace's second context", _LESS)
        reason = self._log.reason() or "it gives no reason"
        return EngineError(f"llama.cpp cannot {what}: {reason}", "Trace a shorter text.")


def _fill(batch: Any, tokens: tuple[int, ...], start: int, most: int) -> int:  # noqa: ANN401 - a ctypes structure
    """Put the next tokens into the batch, all of them outputs; returns how many."""
    part = tokens[start : start + most]
    for index, token in enumerate(part):
        batch.token[index] = token
        batch.pos[index] = start + index
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = 0
        batch.logits[index] = 1
    batch.n_tokens = len(part)
    return len(part)
