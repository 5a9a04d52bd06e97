"""One answer in the making.

Knows its prompt, its sampled tokens and its text; refuses to know which other sequences share the batch.
"""

import codecs
import resource
import time
from collections.abc import Iterator

from mixchat.chat.stops import StopScanner
from mixchat.engine.events import Finished, FinishReason, GenerateRequest, Timings, Token, Usage
from mixchat.engine.worker.grammar import Grammar
from mixchat.engine.worker.sampler import Sampler
from mixchat.engine.worker.task import Task
from mixchat.engine.worker.vocabulary import Vocabulary
from mixchat.errors import UsageError


class Sequence(Task):
    """State of one generate request.

    With a seed it is alone: other sequences in its batches would change the rounding, and with it the text.
    """

    samples = True

    def __init__(self, request_id: int, request: GenerateRequest, vocabulary: Vocabulary) -> None:
        super().__init__(request_id, request.tokens, request.own_batch)
        self.alone = request.sampling.seed is not None
        self.reproducible = self.alone or request.sampling.temperature == 0
        self._vocabulary = vocabulary
        self._max_tokens = request.max_tokens
        self._shown = vocabulary.controls(request.shown)
        grammar = Grammar(request.grammar, vocabulary, self._shown) if request.grammar else None
        self._sampler = Sampler(request.sampling, vocabulary.size, request.tokens, grammar)
        self._stops = StopScanner(request.stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._completion = 0
        self._faults = _major_faults()
        self._started = time.monotonic()
        self._first = self._started

    def place(self, slot: int, done: int) -> None:
        """See Task; the time that it waited for a slot does not count."""
        super().place(slot, done)
        if self.prefilling:
            self._started = time.monotonic()
            self._faults = _major_faults()

    def sample(self, context: object, index: int, room: int) -> Iterator[Token | Finished | UsageError]:
        """Choose the next token and yield what follows from it.

        Args:
            context: llama_context pointer with fresh logits.
            index: The batch's token whose logits count.
            room: Tokens that still fit the context.
        """
        try:
            token = self._sampler.sample(context, index)
        except UsageError as error:
            self.free()
            yield error
            return
        if self.prefilling:
            self.prefilling = False
            self._first = time.monotonic()
        if self._vocabulary.is_end(token):
            yield from self.finish("stop")
            return
        self._completion += 1
        piece = self._vocabulary.piece(token, special=token in self._shown)
        text, stopped = self._stops.feed(self._decoder.decode(piece))
        yield Token(text, token)
        if stopped:
            yield self._finished("stop")
        elif self._sampler.at_end():
            yield from self.finish("stop")
        elif self._completion == self._max_tokens or room < 1:
            yield from self.finish("length")
        else:
            self.tokens.append(token)

    def finish(self, reason: FinishReason) -> Iterator[Token | Finished]:
        """Yield the text that was held back, and the end."""
        text, stopped = self._stops.feed(self._decoder.decode(b"", final=True))
        if not stopped:
            text += self._stops.finish()
        if text:
            yield Token(text, -1)
        yield self._finished(reason)

    def free(self) -> None:
        """Give back the sampler's memory."""
        self._sampler.free()

    def _finished(self, reason: FinishReason) -> Finished:
        self.free()
        now = time.monotonic()
        first = now if self.prefilling else self._first
        prefill, decode = first - self._started, now - first
        evaluated = (self.done if self.prefilling else self.total) - self.cached
        return Finished(
            reason,
            Usage(self.total, self.cached, self._completion),
            Timings(
                prefill_ms=prefill * 1000,
                decode_ms=decode * 1000,
                ttft_ms=prefill * 1000,
                prefill_tps=evaluated / prefill if prefill else 0.0,
                decode_tps=(self._completion - 1) / decode if self._completion > 1 and decode else 0.0,
                major_faults=_major_faults() - self._faults,
            ),
        )


def _major_faults() -> int:
    """Pages that this process has waited for the disk for, in all its threads."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
