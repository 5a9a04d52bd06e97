"""One answer to one prompt.

Knows what a model's raw stream needs before people see it; refuses to know where the prompt came from.
"""

from collections.abc import Iterator
from dataclasses import replace

from mixchat.app.prompt import Prompt
from mixchat.app.source import Format
from mixchat.chat.mistral import ReplySpace
from mixchat.engine.events import GenerateEvent, GenerateRequest, Sampling, Token
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
    engine: Engine, form: Format, prompt: Prompt, settings: Settings, stop: tuple[str, ...]
) -> Iterator[GenerateEvent]:
    """Stream the answer; ends with Finished.

    Raises:
        EngineError: llama.cpp fails.
    """
    request = GenerateRequest(prompt.tokens, sampling_of(settings), settings.value("max_tokens"), stop)
    space = ReplySpace()
    for event in engine.generate(request):
        if isinstance(event, Token) and form.family == "mistral-v1":
            yield replace(event, text=space.feed(event.text))
        else:
            yield event
