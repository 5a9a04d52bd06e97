"""What the tokens of a prompt are used for, row by row.

Knows which segment is which message; refuses to know how a table looks.
"""

from collections.abc import Iterator

from mixchat.app.prompt import Prompt
from mixchat.chat.transcript import Transcript
from mixchat.ui.chat_views import TokenRow, TokenTable


def token_table(prompt: Prompt, transcript: Transcript, context: int) -> TokenTable:
    """The rows of a prompt that ends with the last answer: system text, messages by number, the format's own tokens."""
    return TokenTable(tuple(_rows(prompt, transcript)), len(prompt.tokens), context, transcript.left_out)


def _rows(prompt: Prompt, transcript: Transcript) -> Iterator[TokenRow]:
    numbers = {"user": _numbers(transcript, 1), "assistant": _numbers(transcript, 2)}
    for segment in prompt.segments:
        if segment.role == "system":
            yield TokenRow(0, "system", len(segment.tokens), segment.text)
        elif segment.role != "template":
            yield TokenRow(next(numbers[segment.role], 0), segment.role, len(segment.tokens), segment.text)
    own = [segment for segment in prompt.segments if segment.role == "template"]
    if own:
        yield TokenRow(0, "template", sum(len(segment.tokens) for segment in own), "the format's own marks")


def _numbers(transcript: Transcript, first: int) -> Iterator[int]:
    """The numbers of the answered turns' messages as `/edit` counts them."""
    for index, turn in enumerate(transcript.turns):
        if index >= transcript.left_out and turn.assistant.strip():
            yield 2 * index + first
