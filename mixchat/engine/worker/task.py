"""Tokens on their way into the KV cache.

Knows how far one request has come; refuses to know which others share its batches, and llama.cpp.
"""

from collections.abc import Iterator
from typing import ClassVar

from mixchat.engine.events import FinishReason
from mixchat.engine.protocol import Evaluated


class Task:
    """A request that wants tokens evaluated.

    Attributes:
        request_id: Whom the events go to.
        slot: llama.cpp's sequence id; -1 while it waits for one.
        tokens: All that are known: the prompt and what was sampled.
        total: Tokens of the prompt.
        done: So many of the tokens are evaluated.
        cached: So many were when it began.
        prefilling: No token was sampled yet.
        own_batch: So many of the first tokens share their batches with nothing else.
        alone: No other request is evaluated at the same time.
        reproducible: The same request is to give the same text: greedy, or with a seed.
        samples: It goes on with what its last token's logits say.
    """

    samples: ClassVar[bool]

    def __init__(self, request_id: int, tokens: tuple[int, ...], own_batch: int = 0) -> None:
        self.request_id = request_id
        self.slot = -1
        self.tokens = list(tokens)
        self.total = len(tokens)
        self.done = 0
        self.cached = 0
        self.prefilling = True
        self.own_batch = min(own_batch, len(tokens) - self.samples)
        self.alone = False
        self.reproducible = False

    @property
    def pending(self) -> int:
        """Tokens that wait to be evaluated."""
        return len(self.tokens) - self.done

    @property
    def in_own_batch(self) -> bool:
        """Its next tokens share their batch with nothing else."""
        return self.done < self.own_batch

    @property
    def next_batch(self) -> int:
        """Tokens that may go into one batch at most."""
        return self.own_batch - self.done if self.in_own_batch else self.pending

    def place(self, slot: int, done: int) -> None:
        """Go on in a slot that holds the first `done` tokens."""
        if self.prefilling:
            self.cached = done
        self.slot, self.done = slot, done

    def sample(self, context: object, index: int, room: int) -> Iterator[object]:
        """Yield what follows from the last token's evaluation; further tokens are appended to `tokens`."""
        raise NotImplementedError

    def finish(self, reason: FinishReason) -> Iterator[object]:
        """Yield the end."""
        raise NotImplementedError

    def free(self) -> None:
        """Give back memory that is not Python's."""


class Evaluation(Task):
    """Tokens to evaluate, with no answer to them."""

    samples = False

    def __init__(self, request_id: int, tokens: tuple[int, ...]) -> None:
        super().__init__(request_id, tokens)
        self.alone = self.reproducible = True

    def sample(self, context: object, index: int, room: int) -> Iterator[Evaluated]:  # noqa: ARG002 - see Task
        """See Task."""
        yield Evaluated()

    def finish(self, reason: FinishReason) -> Iterator[Evaluated]:  # noqa: ARG002 - see Task
        """See Task."""
        yield Evaluated()
