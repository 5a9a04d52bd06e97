"""The batch step: every request that wants tokens evaluated shares one llama_decode.

Knows the batch and what follows from it; refuses to know who asked. A step is: (1) slots for those that wait; (2) one
token of each decoding sequence, then prompt tokens of prefilling ones, the first come first, while the batch has room;
(3) evaluate; (4) sample where a sequence has nothing left to evaluate. So no answer waits for a prompt for longer than
one batch, and no prompt waits for an answer.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from mixchat.engine.events import GenerateRequest, Prefilling
from mixchat.engine.worker.bindings import llama
from mixchat.engine.worker.line import Line
from mixchat.engine.worker.loading import Model
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.sequence import Sequence
from mixchat.engine.worker.slots import Slots
from mixchat.engine.worker.task import Evaluation, Task
from mixchat.engine.worker.threads import ThreadGovernor
from mixchat.engine.worker.vocabulary import Vocabulary
from mixchat.errors import EngineError, PromptTooLong

_NO_ROOM: Final = 1
_ABORTED: Final = 2
Send = Callable[[int, object], None]


class Scheduler:
    """Runs sequences over one model."""

    def __init__(self, model: Model, vocabulary: Vocabulary, log: Log, send: Send) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._log = log
        self._send = send
        self._batch: Any = llama.llama_batch_init(model.n_batch, 0, 1)
        self._slots = Slots(model.context, model.sequences)
        self._line = Line(self._slots)
        self._governor = ThreadGovernor(model.threads, self._set_threads)

    @property
    def busy(self) -> bool:
        """Whether a step has something to do."""
        return bool(self._line)

    @property
    def evaluated(self) -> tuple[int, ...]:
        """The tokens in the first slot."""
        return self._slots.held(0)

    def check_idle(self) -> None:
        """Raise EngineError while an answer is being written."""
        if self._line:
            raise EngineError("The KV cache is in use: an answer is being written.", "Wait for its end.")

    def forget(self) -> None:
        """Empty the KV cache."""
        self._slots.drop(self._slots.free(()))

    def adopt(self, tokens: tuple[int, ...]) -> None:
        """Take note of what a restored state has put into the empty KV cache."""
        self._slots.adopt(tokens)

    def start(self, request_id: int, request: GenerateRequest) -> None:
        """Take a request in; it begins when there is a slot for it, with what the KV cache holds of its prompt.

        Raises:
            PromptTooLong: The prompt leaves no room for one token of answer.
            EngineError: The prompt is empty.
        """
        self._check(request.tokens)
        self._line.join(Sequence(request_id, request, self._vocabulary))

    def evaluate(self, request_id: int, tokens: tuple[int, ...]) -> None:
        """Take tokens in that are to be evaluated in the first slot, with no answer to them.

        Raises:
            PromptTooLong: They leave no room for one token of answer.
            EngineError: There are none.
        """
        self._check(tokens)
        self._line.join(Evaluation(request_id, tokens))

    def cancel(self, request_ids: set[int]) -> None:
        """End these answers with what they have."""
        for task in [each for each in self._line if each.request_id in request_ids]:
            self._end(task, task.finish("interrupted"))

    def step(self) -> None:
        """Evaluate one batch and sample from it."""
        self._admit()
        parts = self._fill()
        if not parts:
            return
        started = time.monotonic()
        code = llama.llama_decode(self._model.context, self._batch)
        if code != 0:
            self._recover(code, [task for task, _count in parts])
            return
        self._adapt(time.monotonic() - started)
        end = 0
        for task, count in parts:
            end += count
            self._advance(task, count, end - 1)

    def _check(self, tokens: tuple[int, ...]) -> None:
        if not tokens:
            raise EngineError("An empty prompt cannot be evaluated.", "Give the prompt some text.")
        if len(tokens) >= self._model.n_ctx:
            room = self._model.n_ctx - 1
            raise PromptTooLong(len(tokens), room, f"Ask for more: --ctx {len(tokens) + 512}")

    def _admit(self) -> None:
        for task in list(self._line.admit()):
            self._tell_progress(task)
            if not task.pending:
                self._end(task, task.finish("stop"))

    def _tell_progress(self, task: Task) -> None:
        if task.prefilling:
            self._send(task.request_id, Prefilling(task.done, task.total, task.cached))

    def _adapt(self, seconds: float) -> None:
        """Let the thread count follow the machine, unless an answer must be the same on every run.

        Only what decodes a single token obeys that count.
        """
        if any(task.reproducible for task in self._line.active):
            self._governor.reset()
        elif self._batch.n_tokens == 1:
            self._governor.decoded(seconds)

    def _set_threads(self, count: int) -> None:
        llama.llama_set_n_threads(self._model.context, count, self._model.threads)

    def _fill(self) -> list[tuple[Task, int]]:
        """Make the batch; who has how many tokens in it."""
        self._batch.n_tokens = 0
        active = self._line.active
        own = next((task for task in active if task.in_own_batch), None)
        order = [own] if own else sorted(active, key=lambda task: task.pending > 1)
        return [(task, count) for task in order if (count := self._add(task))]

    def _add(self, task: Task) -> int:
        """Put as many of a task's pending tokens into the batch as fit; returns how many."""
        batch, start = self._batch, self._batch.n_tokens
        count: int = min(task.next_batch, self._model.n_batch - start)
        for offset in range(count):
            index, position = start + offset, task.done + offset
            batch.token[index] = task.tokens[position]
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = task.slot
            batch.logits[index] = 0
        if count:
            batch.logits[start + count - 1] = task.samples and count == task.pending
        batch.n_tokens = start + count
        return count

    def _advance(self, task: Task, count: int, last: int) -> None:
        self._slots.add(task.slot, task.tokens[task.done : task.done + count])
        task.done += count
        self._tell_progress(task)
        if task.pending:
            return
        self._tell(task, task.sample(self._model.context, last, self._model.n_ctx - task.done))
        if not task.pending:
            self._line.leave(task)

    def _end(self, task: Task, events: Iterator[object]) -> None:
        self._line.leave(task)
        self._tell(task, events)

    def _tell(self, task: Task, events: Iterator[object]) -> None:
        for event in events:
            self._send(task.request_id, event)

    def _recover(self, code: int, tasks: list[Task]) -> None:
        """After a batch that was not evaluated, or only in part: what remains of it in the cache is removed."""
        for task in tasks:
            task.done = self._slots.cut(task.slot, task.done)
        if code == _ABORTED or (code == _NO_ROOM and self._line.make_room()):
            return
        reason = self._log.reason() or f"llama_decode returned {code}"
        error = EngineError(f"llama.cpp cannot evaluate the prompt: {reason}", "Try a smaller context: --ctx 4096")
        for task in tasks:
            self._line.leave(task)
            task.free()
            self._send(task.request_id, error)
