"""Many questions of one kind, one load: what `mixchat ask --each-line` and `--each-file` do.

Knows that items are answered side by side as they come, and that one that fails does not stop the others; refuses to
know lines, files and formats.
"""

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from mixchat.app.answering import Refine, refiner
from mixchat.app.asking import Question, Ready, cache_of, check_sample, fitted, opened_for, request_of
from mixchat.app.events import Notice, OpenEvent, Thinking
from mixchat.app.house import House
from mixchat.app.paging import Watch
from mixchat.chat.messages import Message
from mixchat.engine.events import Finished, GenerateEvent, GenerateRequest, Prefilling, Token
from mixchat.errors import EngineDied, MixchatError
from mixchat.store.settings import Settings

if TYPE_CHECKING:
    from mixchat.app.prompt_cache import Prepared

SEQUENCES: Final = 4
"""Answers in the making at once: on a CPU more of them gain nothing, and each leaves the others less context."""


@dataclass(frozen=True, slots=True)
class Item:
    """One of the questions.

    Attributes:
        index: Its place among all, from 0.
        input: What it is about, as a person knows it: a line, a file's name.
        messages: The conversation, or why there is none: then it has failed.
        changing: As in `Question`.
    """

    index: int
    input: str
    messages: tuple[Message, ...] | MixchatError
    changing: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An item has its whole answer."""

    item: Item
    text: str
    thinking: str
    finished: Finished


@dataclass(frozen=True, slots=True)
class Failed:
    """An item has none."""

    item: Item
    error: MixchatError


BatchEvent = OpenEvent | Prefilling | Answered | Failed


class Take(Protocol):
    """Where the items come from."""

    def __call__(self, *, wait: bool) -> Item | None:
        """The next item; None when there is none any more, and without `wait` also when it has not come yet."""


def ask_each(house: House, settings: Settings, question: Question, take: Take) -> Iterator[BatchEvent]:
    """Answer every item, in the order in which the answers end; ends early when it was interrupted.

    The model is loaded when the first item comes, and not at all when none does. An answer that was interrupted is not
    told.

    Args:
        house: The outside.
        settings: How to load and sample.
        question: What all have in common; it has no messages.
        take: Gives the items.

    Raises:
        EngineDied: Nothing more can be answered.
        MixchatError: The model cannot be found or loaded.
    """
    batch: _Batch | None = None
    while (item := take(wait=True)) is not None:
        if isinstance(item.messages, MixchatError):
            yield Failed(item, item.messages)
            continue
        if batch is None:
            ready = yield from opened_for(house, settings, question, SEQUENCES)
            if ready is None:
                return
            batch = _Batch(house, ready, question, take)
        if (yield from batch.answer(item)):
            return


class _Batch:
    """Items that are answered side by side by one loaded model."""

    def __init__(self, house: House, ready: Ready, question: Question, take: Take) -> None:
        self._house = house
        self._ready = ready
        self._question = question
        self._take = take
        self._cache = cache_of(house, ready, question)
        self._watch = Watch(ready.source, ready.opened)
        self._running: dict[int, _Answer] = {}
        self._begun = 0
        self._aside: deque[Failed | Notice] = deque()
        self._prepared = False

    def answer(self, first: Item) -> Generator[BatchEvent, None, bool]:
        """Answer an item and those that come meanwhile; True when that was interrupted."""
        self._begun = 0
        begun = self._begin(first)
        yield from self._drain()
        if begun is None:
            return False
        request, fixed = begun
        if not self._prepared:
            self._prepared = True
            before = yield from self._cache.prepare(request.tokens, fixed)
            if before.interrupted:
                return True
            self._running[0].before = before
        interrupted = False
        for index, event in self._house.engine.generate_many(self._requests(request)):
            answer = self._running[index]
            if isinstance(event, Finished | MixchatError):
                del self._running[index]
            if isinstance(event, EngineDied):
                raise event
            if isinstance(event, MixchatError):
                yield Failed(answer.item, event)
            elif isinstance(event, Finished) and event.reason == "interrupted":
                interrupted = True
            else:
                yield from self._passed(answer, event)
            yield from self._drain()
        return interrupted

    def _requests(self, first: GenerateRequest) -> Iterator[GenerateRequest | None]:
        """The first, and more as they come while something runs; None while nothing has come."""
        yield first
        while self._running:
            item = self._take(wait=False)
            begun = self._begin(item) if item is not None else None
            yield begun[0] if begun else None

    def _begin(self, item: Item) -> tuple[GenerateRequest, int] | None:
        """What the engine is asked for; None where it cannot be."""
        try:
            if isinstance(item.messages, MixchatError):
                raise item.messages
            question = replace(self._question, messages=item.messages, changing=item.changing)
            opened = self._ready.opened
            check_sample(self._house, question, opened.loaded.context)
            limit = self._ready.source.model.context_length
            prompt = fitted(self._house, self._ready.form, question, opened.loaded.context, limit)
            request = request_of(self._house, self._ready, question, prompt)
        except EngineDied:
            raise
        except MixchatError as error:
            self._aside.append(Failed(item, error))
            return None
        self._aside += (Notice(f"{item.index + 1}: {text}") for text in prompt.notices)
        self._running[self._begun] = _Answer(item, refiner(self._ready.form, prompt), self._question)
        self._begun += 1
        return request

    def _passed(self, answer: "_Answer", event: GenerateEvent) -> Iterator[BatchEvent]:
        if isinstance(event, Prefilling):
            yield event
        yield from answer.take(event)
        if isinstance(event, Finished) and (paging := self._watch.paging(event)):
            yield Notice(paging)

    def _drain(self) -> Iterator[Failed | Notice]:
        while self._aside:
            yield self._aside.popleft()


class _Answer:
    """One answer as it comes.

    Attributes:
        before: What was done for it beforehand.
    """

    def __init__(self, item: Item, refine: Refine, question: Question) -> None:
        self.item = item
        self._refine = refine
        self._question = question
        self.before: Prepared | None = None
        self._text: list[str] = []
        self._thinking: list[str] = []

    def take(self, event: GenerateEvent) -> Iterator[Answered | Failed]:
        """Take the next event in; the answer when that was its last."""
        for seen in self._refine(event):
            match self.before.counted(seen) if self.before else seen:
                case Token(text):
                    self._text.append(text)
                case Thinking(text):
                    self._thinking.append(text)
                case Finished() as finished:
                    yield self._end(finished)

    def _end(self, finished: Finished) -> Answered | Failed:
        text = "".join(self._text)
        try:
            if finished.reason == "stop" and self._question.check is not None:
                self._question.check(text)
        except MixchatError as error:
            return Failed(self.item, error)
        return Answered(self.item, text, "".join(self._thinking), finished)
