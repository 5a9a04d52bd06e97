"""A prompt's fixed beginning, evaluated once: kept on disk, and taken from there the next time.

Knows where the part of a prompt that stays ends, when its state is worth keeping and what to do when something is wrong
with the cache: go on without it. Refuses to know where states lie and what is in them.

Answers are the same with the cache and without it, because the batches are: the beginning is evaluated in batches of
its own, of `ubatch` tokens from the first one on, whoever does that. A state of other tokens that begins alike is cut
back to such a batch's end.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mixchat.app.events import AnswerEvent, Notice, Opened
from mixchat.app.house import House
from mixchat.app.prompt import Prompt, Segment
from mixchat.chat.messages import Text
from mixchat.chat.prefix import common_prefix
from mixchat.engine.events import Finished, LoadRequest, Prefilling, StateKey, Timings, Usage
from mixchat.engine.port import Engine
from mixchat.errors import EngineDied, EngineError, OutputError
from mixchat.store.failures import identity_of
from mixchat.store.prompt_cache import Match, mark_used, matches, prune, remove, writing

LEAST_KEPT: Final = 256
"""Tokens below which evaluating again is no trouble."""

_PROBES: Final = ("", "\n", " ", "a", "1")
"""How a text may begin, as far as that changes the tokens in front of it."""
_TAIL: Final = 256
"""Characters in front of a border that its tokens can depend on; words are much shorter."""
_MS: Final = 1000


def fixed_tokens(engine: Engine, prompt: Prompt, changing: str) -> int:
    """How many of a prompt's first tokens do not depend on a part of its last message, and on what follows that.

    0 where they are fewer than are worth keeping: then they need no batches of their own.

    Args:
        engine: Has the model loaded.
        prompt: In which a person speaks last.
        changing: The end of what the person says that is another the next time; blank: all of it stays.
    """
    index = max((at for at, each in enumerate(prompt.segments) if each.role == "user"), default=-1)
    if index < 0:
        return 0
    before = sum(len(each.tokens) for each in prompt.segments[:index])
    fixed = min(before + _fixed_inside(engine, prompt.segments[index], changing), len(prompt.tokens) - 1)
    return fixed if fixed >= LEAST_KEPT else 0


def _fixed_inside(engine: Engine, segment: Segment, changing: str) -> int:
    """The same of one segment.

    1. A token may reach over the border of two texts, so the last part of the fixed one is tokenized with several
       continuations, and with its own; the tokens that all of these begin with do not depend on what follows.
    2. What else there is with its own continuation must be the last tokens of the segment; it is not fixed.
    """
    # A template may trim what a person says.
    wanted = changing if changing in segment.text else changing.strip()
    head = segment.text.rpartition(wanted)[0] if changing.strip() else segment.text
    if not head:
        return 0
    tail = head[-_TAIL:]
    own = tail + segment.text[len(head) :]
    own_ids, *tried = engine.tokenize([Text(own), *(Text(tail + probe) for probe in _PROBES)], prompt=False)
    stable = min(common_prefix(ids, own_ids) for ids in tried)
    rest = own_ids[stable:]
    inside = len(segment.tokens) - len(rest)
    return inside if stable and segment.tokens[inside:] == rest else 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done before an answer.

    Attributes:
        total: Tokens of the whole prompt.
        ready: So many of its first ones are evaluated; 0: nothing was done, and the answer's own events are right.
        restored: So many of these came from the disk.
        prefill_ms: Milliseconds of restoring and evaluating.
        keep_ms: Milliseconds of keeping.
        interrupted: Somebody stopped it: there is to be no answer.
    """

    total: int
    ready: int = 0
    restored: int = 0
    prefill_ms: float = 0.0
    keep_ms: float = 0.0
    interrupted: bool = False

    def counted(self, event: AnswerEvent) -> AnswerEvent:
        """An event of the answer, in which what was done before counts as its own prefill."""
        match event:
            case Prefilling(cached=cached) if self.ready:
                return replace(event, cached=min(cached, self.restored))
            case Finished() if self.ready:
                usage = replace(event.usage, cached_tokens=min(event.usage.cached_tokens, self.restored))
                return replace(event, usage=usage, timings=self._timings(event.timings))
            case _:
                return event

    def stopped(self) -> Finished:
        """The end of an answer that was not begun."""
        timings = self._timings(Timings())
        return Finished("interrupted", Usage(self.total, self.restored, 0), timings)

    def _timings(self, timings: Timings) -> Timings:
        prefill = self.prefill_ms + timings.prefill_ms
        evaluated = self.ready - self.restored + timings.prefill_tps * timings.prefill_ms / _MS
        return replace(
            timings,
            prefill_ms=prefill,
            ttft_ms=self.prefill_ms + self.keep_ms + timings.ttft_ms,
            prefill_tps=evaluated / prefill * _MS if prefill else 0.0,
        )


class PromptCache:
    """The cache for the prompts of one loaded model.

    Args:
        house: The outside.
        opened: How the model was loaded.
        budget: Bytes of disk; 0 switches the cache off.
        clock: Seconds.
    """

    def __init__(self, house: House, opened: Opened, budget: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = house.engine
        self._places = house.places
        self._opened = opened
        self._budget = budget
        self._clock = clock
        self._batch = min(opened.request.ubatch, opened.loaded.context)

    def answer(
        self, tokens: tuple[int, ...], fixed: int, go_on: Callable[[], Iterator[AnswerEvent]]
    ) -> Iterator[AnswerEvent]:
        """Prepare, then answer; ends with Finished.

        Args:
            tokens: The whole prompt.
            fixed: As in `prepare`.
            go_on: Answers it, with `own_batch` as large as `fixed`.
        """
        prepared = yield from self.prepare(tokens, fixed)
        if prepared.interrupted:
            yield prepared.stopped()
            return
        for event in go_on():
            yield prepared.counted(event)

    def prepare(self, tokens: tuple[int, ...], fixed: int) -> Generator[Notice | Prefilling, None, Prepared]:
        """Have a prompt's first tokens evaluated, from disk where they were kept; what had to be evaluated is kept.

        Args:
            tokens: The whole prompt.
            fixed: So many of its first tokens come again.

        Raises:
            EngineDied: The next call starts another engine, without a model.
        """
        prepared = Prepared(len(tokens))
        if not self._worth(fixed):
            return prepared
        started = self._clock()
        conditions, prefix = _conditions(self._opened.request), tokens[:fixed]
        match = yield from self._restored(conditions, prefix)
        prepared = replace(prepared, ready=fixed, restored=match.shared if match else 0)
        if prepared.restored < fixed:
            prepared = yield from self._evaluated(prefix, prepared)
        prepared = replace(prepared, prefill_ms=(self._clock() - started) * _MS)
        if prepared.restored < prepared.ready == fixed:
            started = self._clock()
            yield from self._keep(conditions, prefix)
            prepared = replace(prepared, keep_ms=(self._clock() - started) * _MS)
        return prepared

    def _worth(self, fixed: int) -> bool:
        plan = self._opened.plan
        nbytes = sum(share.footprint.kv for share in plan.shares) * fixed // plan.context
        return fixed >= LEAST_KEPT and nbytes < self._budget

    def _restored(self, conditions: str, prefix: tuple[int, ...]) -> Generator[Notice, None, Match | None]:
        """Go on from the kept state that holds most of the prefix; `shared` says how many of its tokens are right."""
        best = next(iter(matches(self._places, conditions, prefix)), None)
        if best is None:
            return None
        shared = best.shared if best.tokens == len(prefix) == best.shared else best.shared - best.shared % self._batch
        if not shared:
            return None
        try:
            restored = self._engine.restore_state(str(best.path), _key(conditions))
        except EngineDied:
            # What kills the engine once may do so every time.
            remove(self._places, best.name)
            raise
        if restored.tokens == best.tokens:
            mark_used(self._places, best.name)
            return replace(best, shared=shared)
        if best.path.exists():
            remove(self._places, best.name)
            yield Notice(f"{restored.reason} What was kept of this prompt is evaluated again.")
        return None

    def _evaluated(self, prefix: tuple[int, ...], prepared: Prepared) -> Generator[Prefilling, None, Prepared]:
        """Evaluate the rest of the prefix; where this fails the answer will, too, and say why."""
        # What is evaluated already costs nothing without logits: the first only forgets what lies behind it.
        parts = (prefix[: prepared.restored], prefix) if prepared.restored else (prefix,)
        restored, done = prepared.restored, 0
        try:
            for part in parts:
                for event in self._engine.evaluate(part):
                    restored, done = min(restored, event.done), event.done
                    yield Prefilling(done, prepared.total, restored)
                if done < len(part):
                    break
        except EngineDied:
            raise
        except EngineError:
            return Prepared(prepared.total)
        return replace(prepared, ready=done, restored=restored, interrupted=done < len(prefix))

    def _keep(self, conditions: str, prefix: tuple[int, ...]) -> Iterator[Notice]:
        try:
            with writing(self._places, conditions, prefix) as place:
                if place is None:
                    return
                kept = self._engine.keep_state(str(place.path), _key(conditions))
            if kept.tokens:
                prune(self._places, self._budget, place.name)
        except EngineDied:
            raise
        except (OutputError, EngineError) as error:
            yield Notice(f"The evaluated prompt is not kept: {error.message} Asking again evaluates it again.")


def _conditions(request: LoadRequest) -> str:
    """What a state, to the last bit, depends on besides its tokens and what the engine knows."""
    path = Path(request.path)
    identity = request.path
    with suppress(OSError):
        identity = identity_of(path)
    where = (request.devices, request.n_gpu_layers, request.tensor_split, request.overrides, request.extra_buffers)
    how = (request.kv_type, min(request.ubatch, request.context), request.threads, request.experts_used)
    return repr((identity, where, how))


def _key(conditions: str) -> StateKey:
    return StateKey(hashlib.sha256(conditions.encode()).hexdigest())
