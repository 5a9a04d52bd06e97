"""The batch step: every sequence that wants tokens evaluated shares one llama_decode.

Knows sequences, the batch and the KV cache's contents; refuses to know who asked. A step is: (1) one token of each
decoding sequence, then prompt tokens of prefilling ones while the batch has room; (2) evaluate; (3) sample where a
sequence has nothing left to evaluate. Today one sequence exists at a time; the step does not depend on it.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from mixchat.engine.events import FinishReason, GenerateRequest, Prefilling
from mixchat.engine.worker.bindings import AbortFlag, llama
from mixchat.engine.worker.loading import Model
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.sequence import Sequence
from mixchat.engine.worker.threads import ThreadGovernor
from mixchat.engine.worker.vocabulary import Vocabulary
from mixchat.errors import EngineError, PromptTooLong

_ABORTED: Final = 2
Send = Callable[[int, object], None]


class Cancels:
    """Which requests should stop, shared between the reading thread and the computing one."""

    def __init__(self, abort: AbortFlag) -> None:
        self._abort = abort
        self._lock = Lock()
        self._ids: set[int] = set()

    def add(self, request_id: int) -> None:
        """Ask for a stop, now."""
        with self._lock:
            self._ids.add(request_id)
            self._abort.set()

    def take(self) -> set[int]:
        """The requests to stop since the last call; computations may run again."""
        with self._lock:
            taken, self._ids = self._ids, set()
            self._abort.clear()
            return taken


class Scheduler:
    """Runs sequences over one model."""

    def __init__(self, model: Model, vocabulary: Vocabulary, log: Log, send: Send) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._log = log
        self._send = send
        self._memory: Any = llama.llama_get_memory(model.context)
        self._batch: Any = llama.llama_batch_init(model.n_batch, 0, 1)
        self._evaluated: dict[int, list[int]] = {0: []}
        self._floor = 0
        self._active: list[Sequence] = []
        self._governor = ThreadGovernor(model.threads, self._set_threads)

    @property
    def busy(self) -> bool:
        """Whether a step has something to do."""
        return bool(self._active)

    @property
    def evaluated(self) -> tuple[int, ...]:
        """The tokens in the KV cache."""
        return tuple(self._evaluated[0])

    def check_idle(self) -> None:
        """Raise EngineError while an answer is being written."""
        if self._active:
            raise EngineError("The KV cache is in use: an answer is being written.", "Wait for its end.")

    def forget(self) -> None:
        """Empty the KV cache."""
        self._cut(0, 0)

    def adopt(self, tokens: tuple[int, ...]) -> None:
        """Take note of what a restored state has put into the empty KV cache.

        Of layers that attend to a window, and of recurrent ones, a state holds only what the next token needs; then
        nothing shorter can be continued.
        """
        self._evaluated[0] = list(tokens)
        self._floor = len(tokens) - 1 if llama.llama_memory_seq_pos_min(self._memory, 0) > 0 else 0

    def start(self, request_id: int, request: GenerateRequest) -> None:
        """Take a request in, keeping what the KV cache already holds of its prompt.

        Raises:
            PromptTooLong: The prompt leaves no room for one token of answer.
            EngineError: The prompt is empty.
        """
        if not request.tokens:
            raise EngineError("An empty prompt cannot be evaluated.", "Give the prompt some text.")
        if len(request.tokens) >= self._model.n_ctx:
            room = self._model.n_ctx - 1
            raise PromptTooLong(len(request.tokens), room, f"Ask for more: --ctx {len(request.tokens) + 512}")
        cached = self._reuse(0, request.tokens)
        self._active.append(Sequence(request_id, request, cached, self._vocabulary))
        self._send(request_id, Prefilling(cached, len(request.tokens), cached))

    def _reuse(self, slot: int, tokens: tuple[int, ...]) -> int:
        """Cut a slot's KV cache back to its common prefix with `tokens`; at least one token stays to be evaluated."""
        held = self._evaluated[slot]
        limit = min(len(held), len(tokens) - 1)
        keep = next((i for i in range(limit) if held[i] != tokens[i]), limit)
        return self._cut(slot, keep)

    def _cut(self, slot: int, keep: int) -> int:
        """Forget all but the first `keep` tokens, or everything where a part cannot be forgotten."""
        if keep < self._floor or not llama.llama_memory_seq_rm(self._memory, slot, keep, -1):
            llama.llama_memory_seq_rm(self._memory, slot, -1, -1)
            keep = self._floor = 0
        del self._evaluated[slot][keep:]
        return keep

    def cancel(self, request_ids: set[int]) -> None:
        """End these answers with what they have."""
        for sequence in [each for each in self._active if each.request_id in request_ids]:
            self._end(sequence, "interrupted")

    def step(self) -> None:
        """Evaluate one batch and sample from it."""
        self._batch.n_tokens = 0
        parts = [(sequence, self._add(sequence)) for sequence in sorted(self._active, key=lambda each: each.prefilling)]
        started = time.monotonic()
        code = llama.llama_decode(self._model.context, self._batch)
        if code == 0:
            self._adapt(time.monotonic() - started)
            end = 0
            for sequence, count in parts:
                end += count
                self._advance(sequence, count, end - 1)
            return
        for slot in {sequence.slot for sequence, _count in parts}:
            self._cut(slot, len(self._evaluated[slot]))
        if code != _ABORTED:
            self._fail(code)

    def _adapt(self, seconds: float) -> None:
        """Let the thread count follow the machine, unless an answer must be the same on every run."""
        if any(sequence.reproducible for sequence in self._active):
            self._governor.reset()
        elif not any(sequence.prefilling for sequence in self._active):
            self._governor.decoded(seconds)

    def _set_threads(self, count: int) -> None:
        llama.llama_set_n_threads(self._model.context, count, self._model.threads)

    def _add(self, sequence: Sequence) -> int:
        """Put as many of a sequence's pending tokens into the batch as fit; returns how many."""
        batch = self._batch
        start, position = batch.n_tokens, len(self._evaluated[sequence.slot])
        count: int = min(len(sequence.pending), self._model.n_batch - start)
        for offset in range(count):
            index = start + offset
            batch.token[index] = sequence.pending[offset]
            batch.pos[index] = position + offset
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence.slot
            batch.logits[index] = 0
        if count:
            batch.logits[start + count - 1] = count == len(sequence.pending)
        batch.n_tokens = start + count
        return count

    def _advance(self, sequence: Sequence, count: int, last: int) -> None:
        held = self._evaluated[sequence.slot]
        held += sequence.pending[:count]
        del sequence.pending[:count]
        if sequence.prefilling:
            self._send(sequence.request_id, Prefilling(len(held), sequence.total, sequence.cached))
        if sequence.pending:
            return
        for event in sequence.sample(self._model.context, last, self._model.n_ctx - len(held)):
            self._send(sequence.request_id, event)
        if not sequence.pending:
            self._active.remove(sequence)

    def _end(self, sequence: Sequence, reason: FinishReason) -> None:
        self._active.remove(sequence)
        for event in sequence.finish(reason):
            self._send(sequence.request_id, event)

    def _fail(self, code: int) -> None:
        """A batch that llama.cpp could not evaluate ends every sequence in it."""
        reason = self._log.reason() or f"llama_decode returned {code}"
        error = EngineError(f"llama.cpp cannot evaluate the prompt: {reason}", "Try a smaller context: --ctx 4096")
        for sequence in self._active:
            sequence.free()
            self._send(sequence.request_id, error)
        self._active.clear()
