"""Measures prefill and decode of a loaded model, on a story.

Knows prompts, rounds and what counts; refuses to know which model is loaded and what the figures are compared with.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from mixchat.app.comparing import Kind
from mixchat.app.events import Measuring
from mixchat.chat.messages import Text
from mixchat.engine.events import Finished, GenerateRequest, Prefilling, Sampling, Token
from mixchat.engine.port import Engine

PREFILL: Final = 512
DECODE: Final = 64
"""Tokens of a measured prompt and of a measured answer."""

_WARM: Final = 64, 8
"""Tokens of the prompt and of the answer that do not count."""
_MOST_TRIES: Final = 8

DEPTHS: Final = (0, 1024, 4096)
ROUNDS: Final = 3
"""What is measured when nobody says what."""

REACH: Final = 20.0
PATIENCE: Final = 15.0
"""Seconds to reach a depth that nobody asked for, at the most, and those after which no round is begun that nobody
asked for: a benchmark takes a minute unless a longer one is wanted."""


class _Progress:
    """How far all is; it never goes back.

    Args:
        steps: How many there are.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._shown = 0.0

    def done(self) -> None:
        """A step is done."""
        self._step += 1

    def jump(self, step: int) -> None:
        """Those before this one are done or left out."""
        self._step = step

    def at(self, within: float) -> float:
        """The fraction, with so much of the step under way."""
        self._shown = max(self._shown, (self._step + within) / self._steps)
        return self._shown


class _Stopped(Exception):
    """The engine was interrupted."""


class Run:
    """The measurements of one benchmark as they come in.

    Args:
        engine: With the model.
        context: Its tokens of context.
        depths: Tokens in the KV cache before a measurement; what the context does not hold becomes the most it does.
            None: 0, 1024 and 4096, without those that take more than 20 s to reach.
        rounds: How often each is measured. None: three times, but only once after 15 s.
        clock: Seconds.

    Attributes:
        depths: Those that are measured.
        left_out: Those that would have taken too long to reach.
        prefill: Tokens of a measured prompt: 512, or half of a small context.
        samples: Tokens per second of every round so far.
        complete: Nothing is missing.
    """

    def __init__(
        self,
        engine: Engine,
        context: int,
        depths: tuple[int, ...] | None,
        rounds: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.prefill = min(PREFILL, context // 2)
        deepest = max(context - max(self.prefill, DECODE) - 2, 0)
        self.depths = tuple(dict.fromkeys(min(depth, deepest) for depth in (DEPTHS if depths is None else depths)))
        self.left_out: list[int] = []
        self.samples: dict[tuple[Kind, int], list[float]] = {}
        self.complete = False
        self._engine = engine
        self._rounds = rounds or ROUNDS
        self._hurries = depths is None, rounds is None
        self._clock = clock
        self._story: tuple[int, ...] = ()
        self._progress = _Progress(1 + len(self.depths) * (1 + 2 * self._rounds))

    def measure(self) -> Iterator[Measuring]:
        """Measure; ends early when the engine is interrupted.

        1. A prompt and an answer that do not count warm up memory, caches and threads.
        2. For each depth that many tokens of the story are evaluated. Then every round evaluates 512 that come later in
           the story, and answers with 64, each behind the KV cache cut back to the depth.
        3. Seeds are fixed, and other ones in each round; with a seed the engine keeps its thread count.
        """
        (self._story,) = self._engine.tokenize((Text(_text()),), prompt=True)
        started = self._clock()
        with suppress(_Stopped):
            yield from self._prepare("warming up", self._passage(0)[: _WARM[0]], _WARM[1])
            for index, depth in enumerate(self.depths):
                self._progress.jump(1 + index * (1 + 2 * self._rounds))
                if self._is_far(depth):
                    self.left_out.append(depth)
                    continue
                yield from self._prepare(f"going to {depth} tokens", self._start(depth), 1)
                for number in range(self._rounds):
                    if number and self._hurries[1] and self._clock() - started > PATIENCE:
                        break
                    yield from self._measure_prefill(depth, number)
                    yield from self._measure_decode(depth, number)
            self.complete = True

    def _is_far(self, depth: int) -> bool:
        """Whether reaching a depth that nobody asked for takes too long, by the prefill that was measured last."""
        speeds = [sample for (kind, _depth), samples in self.samples.items() if kind == "prefill" for sample in samples]
        reached = max((known for _kind, known in self.samples if known < depth), default=0)
        return self._hurries[0] and bool(speeds) and (depth - reached) / speeds[-1] > REACH

    def _prepare(self, what: str, prompt: tuple[int, ...], most: int) -> Iterator[Measuring]:
        """Something that does not count."""
        yield from self._generate(what, prompt, most, 0)
        self._progress.done()

    def _measure_prefill(self, depth: int, number: int) -> Iterator[Measuring]:
        """The engine's own figure; none where it could not keep the tokens before and evaluated them again."""
        what = f"prefill at {depth}, round {number + 1} of {self._rounds}"
        prompt = self._slice(0, depth) + self._passage(number)
        finished = yield from self._generate(what, prompt, 1, number)
        if finished.usage.cached_tokens >= depth:
            self._add("prefill", depth, finished.timings.prefill_tps)
        self._progress.done()

    def _measure_decode(self, depth: int, number: int) -> Iterator[Measuring]:
        """Tokens behind the first one, by the engine's own time; an answer that ends early is followed by another."""
        what = f"decode at {depth}, round {number + 1} of {self._rounds}"
        tokens, milliseconds = 0, 0.0
        for attempt in range(_MOST_TRIES):
            seed = number * _MOST_TRIES + attempt
            finished = yield from self._generate(what, self._start(depth), DECODE + 1 - tokens, seed)
            # The end of an answer is a token that is not shown, and took its time.
            tokens += max(finished.usage.completion_tokens - (finished.reason != "stop"), 0)
            milliseconds += finished.timings.decode_ms
            if tokens >= DECODE:
                break
        self._add("decode", depth, 1000 * tokens / milliseconds if milliseconds else 0.0)
        self._progress.done()

    def _generate(
        self, what: str, prompt: tuple[int, ...], most: int, seed: int
    ) -> Generator[Measuring, None, Finished]:
        """Run a request to its end."""
        request = GenerateRequest(prompt, Sampling(seed=seed), most)
        finished: Finished | None = None
        said, within = 0, 0.0
        for event in self._engine.generate(request):
            match event:
                case Prefilling(done, total, cached) if most == 1:
                    within = (done - cached) / max(total - cached, 1)
                case Token():
                    said += 1
                    within = said / most
                case Finished():
                    finished = event
            yield Measuring(what, self._progress.at(within))
        if finished is None or finished.reason == "interrupted":
            raise _Stopped
        return finished

    def _add(self, kind: Kind, depth: int, speed: float) -> None:
        if speed > 0:
            self.samples.setdefault((kind, depth), []).append(speed)

    def _start(self, depth: int) -> tuple[int, ...]:
        """The story's first tokens; one at least, as an empty prompt cannot be answered."""
        return self._slice(0, max(depth, 1))

    def _passage(self, number: int) -> tuple[int, ...]:
        """The words of a round: behind the deepest start, and other ones in each round."""
        return self._slice(max(self.depths) + 1 + number * self.prefill, self.prefill)

    def _slice(self, start: int, count: int) -> tuple[int, ...]:
        """Tokens of the story, which begins again at its end."""
        return tuple(self._story[index % len(self._story)] for index in range(start, start + count))


def _text() -> str:
    """The first chapters of Alice's Adventures in Wonderland by Lewis Carroll (1865; public domain)."""
    return Path(__file__).with_name("alice.txt").read_text(encoding="utf-8")
