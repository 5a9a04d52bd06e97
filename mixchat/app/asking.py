"""One question, one answer: what `mixchat ask` does.

Knows the order of the steps, and that a prompt that is too long is found out before the weights are read; refuses to
know streams and formats.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mixchat.app.answering import answer, check_room
from mixchat.app.events import ChatEvent, Making, Notice, Opened
from mixchat.app.house import House
from mixchat.app.machine import machine_of, rated_so_far, types_of
from mixchat.app.opening import open_model
from mixchat.app.paging import Watch
from mixchat.app.prompt import Prompt, build
from mixchat.app.source import Format, Source, loadable, locate, located, prompt_format
from mixchat.app.wishes import wishes_of
from mixchat.chat.messages import Message, Text
from mixchat.chat.stops import StopScanner
from mixchat.engine.events import LoadRequest
from mixchat.errors import DoesNotFit, PromptTooLong
from mixchat.plan.memory import default_context, round_context
from mixchat.plan.place import place
from mixchat.store.settings import Settings

_SAMPLE: Final = 32
"""Characters of a text that are tokenized for an estimate, for each token of context."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to answer and how.

    Attributes:
        model: A model reference.
        messages: The conversation; a person speaks last.
        stop: Texts that end the answer.
        force: Load the model although it may not fit.
    """

    model: str
    messages: tuple[Message, ...]
    stop: tuple[str, ...] = ()
    force: bool = False


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What `ask` would evaluate: the model's name, its context in tokens and the prompt."""

    model: str
    context: int
    prompt: Prompt


def ask(house: House, settings: Settings, question: Question) -> Iterator[ChatEvent]:
    """Answer; ends with Finished, or without it when loading was interrupted.

    Raises:
        UsageError: A stop text is empty.
        PromptTooLong: Before any weights are loaded.
        MixchatError: Whatever finding, loading and running the model may raise.
    """
    for event in locate(house, question.model, settings):
        if isinstance(event, Making):
            yield event
        else:
            yield from _ask(house, event, _with_defaults(settings, event), question)


def rehearse(house: House, settings: Settings, question: Question) -> Rehearsal:
    """Build the prompt without loading weights."""
    source = located(house, question.model, settings)
    loadable(source)
    context = _context(house, source, settings)
    return Rehearsal(source.name, context, _from_vocabulary(house, source, prompt_format(source), question.messages))


def _ask(house: House, source: Source, settings: Settings, question: Question) -> Iterator[ChatEvent]:
    loadable(source)
    form = prompt_format(source)
    StopScanner(question.stop)  # refuses an empty one before the weights are read
    if _may_exceed(question.messages, _least_context(source, settings)):
        context = _context(house, source, settings)
        _check_sample(house, source, question.messages, context)
        prompt = _from_vocabulary(house, source, form, question.messages)
        check_room(len(prompt.tokens), context, source.model.context_length)
    opened: Opened | None = None
    for event in open_model(house, source, settings, force=question.force):
        opened = event if isinstance(event, Opened) else opened
        yield event
    if opened is not None:
        prompt = build(house.engine, form, question.messages, {})
        check_room(len(prompt.tokens), opened.loaded.context, source.model.context_length)
        yield from (Notice(text) for text in prompt.notices)
        events = answer(house.engine, form, prompt, settings, question.stop)
        yield from Watch(source, opened).over(events)


def _with_defaults(settings: Settings, source: Source) -> Settings:
    return settings.with_model_defaults(source.entry.sampling) if source.entry else settings


def _least_context(source: Source, settings: Settings) -> int:
    return round_context(settings.value("ctx") or default_context(source.model))


def _context(house: House, source: Source, settings: Settings) -> int:
    """The context that the model will be opened with: on a GPU the plan may choose more than the default."""
    if settings.value("ctx") is None:
        machine = rated_so_far(house, settings, machine_of(house, settings), types_of(source.model))
        with suppress(DoesNotFit):
            return place(source.model, machine, wishes_of(settings)).context
    return _least_context(source, settings)


def _may_exceed(messages: Sequence[Message], context: int) -> bool:
    """Whether a prompt could be longer than the context: a token has at least one byte, markup is short."""
    return sum(len(message.text.encode()) + 64 for message in messages) > context


def _check_sample(house: House, source: Source, messages: Sequence[Message], context: int) -> None:
    """Refuse a text so long that a part of it exceeds the context, without tokenizing all of it."""
    text = max((message.text for message in messages), key=len)
    sample = text[: _SAMPLE * context]
    if len(sample) == len(text):
        return
    _load_vocabulary(house, source)
    ((*ids,),) = house.engine.tokenize((Text(sample),), prompt=True)
    if len(ids) >= context:
        estimate = len(ids) * len(text) // len(sample)
        raise PromptTooLong(estimate, context - 1, "Shorten the prompt or the piped text.", about=True)


def _from_vocabulary(house: House, source: Source, form: Format, messages: Sequence[Message]) -> Prompt:
    """Build a prompt with the model's tokenizer alone."""
    _load_vocabulary(house, source)
    return build(house.engine, form, messages, {})


def _load_vocabulary(house: House, source: Source) -> None:
    for _event in house.engine.load(LoadRequest(str(source.path), vocab_only=True, read_ahead=False)):
        pass
