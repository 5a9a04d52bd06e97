"""One question, one answer: what `mixchat ask` does.

Knows the order of the steps, and that a prompt that is too long is found out before the weights are read; refuses to
know streams and formats.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

from mixchat.app.answering import check_room, refined, request_for
from mixchat.app.attaching import count_tokens
from mixchat.app.events import AnswerEvent, ChatEvent, Notice, Opened, OpenEvent
from mixchat.app.house import House
from mixchat.app.machine import machine_of, rated_so_far, types_of
from mixchat.app.opening import Use, open_model
from mixchat.app.paging import Watch
from mixchat.app.prompt import Prompt, build
from mixchat.app.prompt_cache import PromptCache, fixed_tokens
from mixchat.app.source import Format, Source, finding, loadable, located, prompt_format
from mixchat.app.tracing import check_routers, check_trace, trace_turn
from mixchat.app.window import window_for
from mixchat.app.wishes import wishes_of
from mixchat.chat.attachments import Attachment
from mixchat.chat.messages import Message, Text
from mixchat.chat.stops import StopScanner
from mixchat.chat.turns import told_by
from mixchat.engine.events import Finished, GenerateRequest, LoadRequest, Token
from mixchat.errors import DoesNotFit, PromptTooLong
from mixchat.plan.memory import default_context, round_context
from mixchat.plan.place import place
from mixchat.store.settings import Settings

AskOverflow = Literal["fail", "drop"]

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
        attachments: The files whose texts are in the last message, as `chat.attachments` renders them.
        overflow: What becomes of a prompt that the context has no room for: an error, or the oldest whole turns are
            left out, which is told. What the person says last and the system text are never cut.
        grammar: What the answer obeys, in GBNF; empty: nothing.
        check: Is given the whole answer when the model ended it; raises where it is not what was asked for.
        changing: The end of the last message, which is another the next time; None: all of that message. What stands
            before it is the part of the prompt that the cache is for.
        cache: Take that part's state from the disk, and keep it there.
        trace: Tell at the end which experts the routers chose for what was said and answered.
    """

    model: str
    messages: tuple[Message, ...]
    stop: tuple[str, ...] = ()
    force: bool = False
    attachments: tuple[Attachment, ...] = ()
    overflow: AskOverflow = "fail"
    grammar: str = ""
    check: Callable[[str], None] | None = None
    changing: str | None = None
    cache: bool = True
    trace: bool = False

    @property
    def changes(self) -> str:
        """What of the last message does not stay; blank: all of it does."""
        return self.messages[-1].text if self.changing is None else self.changing


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What `ask` would evaluate.

    Attributes:
        source: The model.
        context: Tokens of context.
        prompt: All of it.
        files: The attachments' names and tokens; where two texts meet a token more or less is possible.
    """

    source: Source
    context: int
    prompt: Prompt
    files: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """A model that can be asked: its file, how it wants its prompt, the settings with its own, how it is loaded."""

    source: Source
    form: Format
    settings: Settings
    opened: Opened


def ask(house: House, settings: Settings, question: Question) -> Iterator[ChatEvent]:
    """Answer; ends with Finished, or without it when loading was interrupted.

    Raises:
        UsageError: A stop text is empty.
        PromptTooLong: Before any weights are loaded.
        MixchatError: Whatever finding, loading and running the model may raise, or the question's check.
    """
    ready = yield from opened_for(house, settings, question)
    if ready is None:
        return
    prompt = fitted(house, ready.form, question, ready.opened.loaded.context, ready.source.model.context_length)
    yield from (Notice(text) for text in prompt.notices)
    request, fixed = request_of(house, ready, question, prompt)
    answer = cache_of(house, ready, question).answer(
        request.tokens, fixed, lambda: refined(ready.form, prompt, house.engine.generate(request))
    )
    events = checked(Watch(ready.source, ready.opened).over(answer), question)
    yield from traced(house, ready, prompt, events) if question.trace else events


def request_of(house: House, ready: Ready, question: Question, prompt: Prompt) -> tuple[GenerateRequest, int]:
    """What the engine is asked for, and how many of the prompt's first tokens stay the next time.

    These are evaluated in batches of their own, so that the answer is the same with the cache and without it.
    """
    fixed = fixed_tokens(house.engine, prompt, question.changes)
    request = request_for(ready.form, prompt, ready.settings, question.stop)
    return replace(request, grammar=question.grammar, own_batch=fixed), fixed


def cache_of(house: House, ready: Ready, question: Question) -> PromptCache:
    """The cache for a question's prompt."""
    return PromptCache(house, ready.opened, ready.settings.value("prompt_cache") if question.cache else 0)


def opened_for(
    house: House, settings: Settings, question: Question, sequences: int = 1
) -> Generator[OpenEvent, None, Ready | None]:
    """Load the model that a question names; None when that was interrupted.

    A grammar that cannot be compiled is refused before any weights are loaded, and a prompt that is too long.

    Args:
        house: The outside.
        settings: How to load; the model's own sampling counts where they say nothing.
        question: Its model, and its messages if it has any.
        sequences: Answers that may be in the making at once.
    """
    source = yield from finding(house, question.model, settings)
    settings = settings.with_model_defaults(source.entry.sampling) if source.entry else settings
    loadable(source)
    form = prompt_format(source)
    StopScanner(question.stop)  # refuses an empty one before the weights are read
    _check_first(house, source, settings, question)
    if question.trace:
        check_routers(source.name, source.model)
    use = Use(question.force, sequences=sequences, trace=_least_context(source, settings) if question.trace else 0)
    opened = yield from open_model(house, source, settings, use)
    return Ready(source, form, settings, opened) if opened is not None else None


def fitted(house: House, form: Format, question: Question, context: int, limit: int) -> Prompt:
    """The prompt of a question, turns left out of it where the question allows that and the context is too small.

    Args:
        house: Whose engine has the model, or its vocabulary, loaded.
        form: How the model wants its prompt.
        question: The conversation.
        context: Tokens of context.
        limit: Tokens that the model was trained for.

    Raises:
        PromptTooLong: There is no room for one token of answer.
    """
    prompt = _prompt(house, form, question, context)
    check_room(len(prompt.tokens), context, limit)
    return prompt


def checked(events: Iterator[AnswerEvent], question: Question) -> Iterator[AnswerEvent]:
    """Pass an answer on, and have the question's check look at it when the model ended it."""
    said: list[str] = []
    for event in events:
        if isinstance(event, Token):
            said.append(event.text)
        yield event
        if isinstance(event, Finished) and event.reason == "stop" and question.check is not None:
            question.check("".join(said))


def traced(house: House, ready: Ready, prompt: Prompt, events: Iterator[AnswerEvent]) -> Iterator[ChatEvent]:
    """Pass an answer on, and trace it at its end; one that was interrupted is not.

    Raises:
        DoesNotFit: It became longer than the default context, for which the trace was planned.
    """
    tokens: list[int] = []
    for event in events:
        yield event
        if isinstance(event, Token) and event.id >= 0:
            tokens.append(event.id)
        if isinstance(event, Finished) and event.reason != "interrupted":
            total = len(prompt.tokens) + len(tokens)
            if total > _least_context(ready.source, ready.settings):
                check_trace(house, ready.settings, ready.opened, total)
            yield from trace_turn(house, ready.opened, prompt, tokens, "the question and its answer")


def rehearse(house: House, settings: Settings, question: Question) -> Rehearsal:
    """Build the prompt without loading weights."""
    source = located(house, question.model, settings)
    loadable(source)
    context, form = _context(house, source, settings), prompt_format(source)
    StopScanner(question.stop)
    _load_vocabulary(house, source)
    if question.grammar:
        house.engine.check_grammar(question.grammar)
    prompt = _prompt(house, form, question, context)
    tokens = count_tokens(house.engine, question.attachments)
    names = [attachment.name for attachment in question.attachments]
    return Rehearsal(source, context, prompt, tuple(zip(names, tokens, strict=True)))


def _prompt(house: House, form: Format, question: Question, context: int) -> Prompt:
    """The prompt, without its oldest turns where the question allows that and the context is too small."""
    prompt = build(house.engine, form, question.messages, {})
    if len(prompt.tokens) >= context and question.overflow == "drop":
        return _shortened(house, form, question, prompt, context)
    return prompt


def _shortened(house: House, form: Format, question: Question, prompt: Prompt, context: int) -> Prompt:
    """The prompt without its oldest turns, as many as must go; as it is where that would not help."""
    transcript, last = told_by(question.messages)
    bare = build(house.engine, form, replace(transcript, left_out=len(transcript.turns)).messages(last), {})
    left_out = window_for(prompt, len(bare.tokens), transcript, context)
    if left_out is None:
        return prompt
    shorter = build(house.engine, form, replace(transcript, left_out=left_out).messages(last), {})
    turns = "turn is" if left_out == 1 else f"{left_out} turns are"
    return replace(shorter, notices=(*shorter.notices, f"The oldest {turns} left out: the context is full."))


def _check_first(house: House, source: Source, settings: Settings, question: Question) -> None:
    """Refuse a grammar that cannot be compiled, and a prompt that is too long, while only the vocabulary is loaded."""
    may_exceed = _may_exceed(question, _least_context(source, settings))
    if not (question.grammar or may_exceed):
        return
    _load_vocabulary(house, source)
    if question.grammar:
        house.engine.check_grammar(question.grammar)
    if may_exceed:
        context = _context(house, source, settings)
        check_sample(house, question, context)
        fitted(house, prompt_format(source), question, context, source.model.context_length)


def _least_context(source: Source, settings: Settings) -> int:
    return round_context(settings.value("ctx") or default_context(source.model))


def _context(house: House, source: Source, settings: Settings) -> int:
    """The context that the model will be opened with: on a GPU the plan may choose more than the default."""
    if settings.value("ctx") is None:
        machine = rated_so_far(house, settings, machine_of(house, settings), types_of(source.model))
        with suppress(DoesNotFit):
            return place(source.model, machine, wishes_of(settings)).context
    return _least_context(source, settings)


def _may_exceed(question: Question, context: int) -> bool:
    """Whether a prompt could be longer than the context: a token has at least one byte, markup is short."""
    return sum(len(message.text.encode()) + 64 for message in question.messages) > context


def check_sample(house: House, question: Question, context: int) -> None:
    """Refuse a text so long that a part of it exceeds the context, without tokenizing all of it."""
    messages = question.messages if question.overflow == "fail" else question.messages[-1:]
    text = max((message.text for message in messages), key=len)
    sample = text[: _SAMPLE * context]
    if len(sample) == len(text):
        return
    ((*ids,),) = house.engine.tokenize((Text(sample),), prompt=True)
    if len(ids) >= context:
        estimate = len(ids) * len(text) // len(sample)
        raise PromptTooLong(estimate, context - 1, "Shorten the prompt or the piped text.", about=True)


def _load_vocabulary(house: House, source: Source) -> None:
    for _event in house.engine.load(LoadRequest(str(source.path), vocab_only=True, read_ahead=False)):
        pass
