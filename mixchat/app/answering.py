"""One answer to one prompt.

Knows what a model's raw stream needs before people see it; refuses to know where the prompt came from.
"""

from collections.abc import Iterator
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
    style = reasoning_of(form.family, form.template, form.control_tokens)
    request = GenerateRequest(
        prompt.tokens, sampling_of(settings), settings.value("max_tokens"), stop, style.shown if style else ()
    )
    events = engine.generate(request)
    if style is not None:
        tail = prompt.segments[-1]
        yield from _split(events, style.splitter(tail.text if tail.role == "template" else ""))
    elif form.family == "mistral-v1":
        yield from _without_reply_space(events)
    else:
        yield from events


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


def _without_reply_space(events: Iterator[GenerateEvent]) -> Iterator[GenerateEvent]:
    space = ReplySpace()
    for event in events:
        yield replace(event, text=space.feed(event.text)) if isinstance(event, Token) else event


def _split(events: Iterator[GenerateEvent], splitter: Splitter) -> Iterator[AnswerEvent]:
    """Tell thinking from answer; a token whose text is held back or is markup stays a token without text.

    When there was any markup, a token that is none comes before the end: not all of them were the answer's.
    """
    markup = 0
    for event in events:
        match event:
            case Token(text, token):
                parts = splitter.feed(text)
                markup += len(text) - sum(len(part.text) for part in parts)
                yield from (Thinking(part.text) for part in parts if part.kind == "thinking")
                if not parts or any(part.kind == "answer" for part in parts):
                    yield Token("".join(part.text for part in parts if part.kind == "answer"), token)
            case Finished():
                for part in splitter.finish():
                    markup -= len(part.text)
                    yield Thinking(part.text) if part.kind == "thinking" else Token(part.text, -1)
                if markup:
                    yield Token("", -1)
                yield event
            case _:
                yield event
