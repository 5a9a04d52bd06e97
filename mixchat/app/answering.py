"""One answer to one prompt.

Knows what a model's raw stream needs before people see it; refuses to know where the prompt came from.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from mixchat.app.events import AnswerEvent, Thinking
from mixchat.app.prompt import Prompt
from mixchat.app.source import Format
from mixchat.chat.mistral import ReplySpace
from mixchat.chat.thinking import Splitter, reasoning_of
from mixchat.engine.events import Finished, GenerateEvent, GenerateRequest, Sampling, Token
from mixchat.engine.port import Engine
from mixchat.errors import PromptTooLong
from mixchat.store.settings import Settings

Refine = Callable[[GenerateEvent], Iterator[AnswerEvent]]


def sampling_of(settings: Settings) -> Sampling:
    """The sampling that the settings ask for."""
    return Sampling(
        temperature=settings.value("temperature"),
        top_p=settings.value("top_p"),
        top_k=settings.value("top_k"),
        min_p=settings.value("min_p"),
        repeat_penalty=settings.value("repeat_penalty"),
        seed=settings.value("seed"),
    )


def check_room(prompt_tokens: int, context: int, limit: int) -> None:
    """Refuse a prompt that leaves no room for one token of answer.

    Args:
        prompt_tokens: Its length.
        context: Tokens of context.
        limit: Tokens that the model was trained for: the most that --ctx should be.

    Raises:
        PromptTooLong: With the context that would hold it, if the model knows one.
    """
    if prompt_tokens < context:
        return
    wanted = -(-(prompt_tokens + 512) // 1024) * 1024
    more = f"Give it more context: --ctx {wanted}" if wanted <= limit else "Shorten the prompt or the piped text."
    raise PromptTooLong(prompt_tokens, context - 1, more)


def answer(
    engine: Engine, form: Format, prompt: Prompt, settings: Settings, stop: tuple[str, ...] = ()
) -> Iterator[AnswerEvent]:
    """Stream the answer, what the model writes on its reasoning channel as Thinking; ends with Finished.

    Raises:
        EngineError: llama.cpp fails.
    """
    yield from refined(form, prompt, engine.generate(request_for(form, prompt, settings, stop)))


def request_for(form: Format, prompt: Prompt, settings: Settings, stop: tuple[str, ...] = ()) -> GenerateRequest:
    """What the engine is asked for to answer a prompt."""
    style = reasoning_of(form.family, form.template, form.control_tokens)
    shown = style.shown if style else ()
    return GenerateRequest(prompt.tokens, sampling_of(settings), settings.value("max_tokens"), stop, shown)


def refined(form: Format, prompt: Prompt, events: Iterator[GenerateEvent]) -> Iterator[AnswerEvent]:
    """Of a raw answer what people see."""
    refine = refiner(form, prompt)
    for event in events:
        yield from refine(event)


def refiner(form: Format, prompt: Prompt) -> Refine:
    """Makes of each event of one raw answer the events that people see; for answers that come side by side."""
    style = reasoning_of(form.family, form.template, form.control_tokens)
    if style is not None:
        tail = prompt.segments[-1]
        return _Split(style.splitter(tail.text if tail.role == "template" else "")).feed
    return _Spaceless().feed if form.family == "mistral-v1" else lambda event: iter((event,))


def resumption(form: Format, prompt: Prompt) -> str:
    """The format's own text between a prompt and an answer that goes on: what a reasoning model writes before one."""
    style = reasoning_of(form.family, form.template, form.control_tokens)
    if style is None:
        return ""
    if style.tags is None:
        return "<|channel|>final<|message|>"
    tail = prompt.segments[-1].text.rstrip()
    return f"\n{style.tags.end}\n\n" if tail.endswith(style.tags.start) else ""


def go_on(engine: Engine, prompt: Prompt, settings: Settings) -> Iterator[AnswerEvent]:
    """Continue an answer that ends the prompt; ends with Finished.

    Raises:
        EngineError: llama.cpp fails.
    """
    yield from engine.generate(GenerateRequest(prompt.tokens, sampling_of(settings), settings.value("max_tokens")))


class _Spaceless:
    """Takes away the space that a reply of Mixtral's begins with."""

    def __init__(self) -> None:
        self._space = ReplySpace()

    def feed(self, event: GenerateEvent) -> Iterator[AnswerEvent]:
        yield replace(event, text=self._space.feed(event.text)) if isinstance(event, Token) else event


class _Split:
    """Tells thinking from answer; a token whose text is held back or is markup stays a token without text.

    When there was any markup, a token that is none comes before the end: not all of them were the answer's.
    """

    def __init__(self, splitter: Splitter) -> None:
        self._splitter = splitter
        self._markup = 0

    def feed(self, event: GenerateEvent) -> Iterator[AnswerEvent]:
        match event:
            case Token(text, token):
                parts = self._splitter.feed(text)
                self._markup += len(text) - sum(len(part.text) for part in parts)
                yield from (Thinking(part.text) for part in parts if part.kind == "thinking")
                if not parts or any(part.kind == "answer" for part in parts):
                    yield Token("".join(part.text for part in parts if part.kind == "answer"), token)
            case Finished():
                yield from self._end()
                yield event
            case _:
                yield event

    def _end(self) -> Iterator[AnswerEvent]:
        for part in self._splitter.finish():
            self._markup -= len(part.text)
            yield Thinking(part.text) if part.kind == "thinking" else Token(part.text, -1)
        if self._markup:
            yield Token("", -1)
