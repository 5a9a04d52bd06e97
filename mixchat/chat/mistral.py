"""Mixtral's v1 prompt, as pieces that are tokenized one by one.

Knows the format that Mixtral 8x7B Instruct was trained on, as mistral-common's `MistralTokenizer.v1()` writes it;
refuses to know tokens. `[INST]` is ordinary text in this format, `<s>` and `</s>` are control tokens.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from mixchat.chat.messages import Control, Message, Piece, Text
from mixchat.chat.order import check_order
from mixchat.errors import UsageError

BOS = Control("<s>")
EOS = Control("</s>")
_JOIN = "\n\n"
_AMBIGUOUS = (
    "A message contains [INST] or [/INST]. Mixtral cannot tell these from its own marks, "
    "so it may take the text between them for another turn."
)


def render(messages: Sequence[Message]) -> tuple[Piece, ...]:
    r"""Write a conversation as Mixtral's prompt, ready for its answer.

    1. The non-empty system messages, wherever they stand, are joined with a blank line and go in front of the first
       user content, followed by a blank line.
    2. Consecutive messages of one role are joined with a blank line, empty ones left out. A system message between
       two messages keeps them apart, as in the reference.
    3. A user segment is `[INST] content [/INST]`; an assistant segment is the reply and `</s>`. Nothing is stripped.

    Returns:
        `<s>`, then each segment as one `Text`, to be tokenized on its own.

    Raises:
        UsageError: The order of the messages is not one that the format can express, or an answer is empty.
    """
    _check(messages)
    system = _joined(message for message in messages if message.role == "system")
    opening = f"{system}{_JOIN}" if system else ""
    pieces: list[Piece] = [BOS]
    for role, group in groupby(messages, key=lambda message: message.role):
        if role == "user":
            pieces.append(Text(f"[INST] {opening}{_joined(group)} [/INST]"))
            opening = ""
        elif role == "assistant":
            pieces += [Text(_joined(group)), EOS]
    return tuple(pieces)


def warnings(messages: Sequence[Message]) -> tuple[str, ...]:
    """What a person should know about a prompt before it is sent: at most one line for all messages."""
    found = any(mark in message.text for message in messages for mark in ("[INST]", "[/INST]"))
    return (_AMBIGUOUS,) if found else ()


def strip_reply_space(reply: str) -> str:
    """Take exactly one leading space off a whole reply.

    The tokenizer puts that space in front of every segment, so a reply kept without it becomes the same tokens again.
    """
    return reply.removeprefix(" ")


class ReplySpace:
    """`strip_reply_space` for a reply that arrives in chunks."""

    def __init__(self) -> None:
        self._begun = False

    def feed(self, text: str) -> str:
        """Return the next chunk, without the reply's leading space when it is in there."""
        if self._begun or not text:
            return text
        self._begun = True
        return strip_reply_space(text)


def _joined(messages: Iterable[Message]) -> str:
    return _JOIN.join(message.text for message in messages if message.text)


def _check(messages: Sequence[Message]) -> None:
    check_order(messages)
    for index, message in enumerate(messages):
        if message.role == "assistant" and not message.text:
            raise UsageError(
                f"messages[{index}], an answer of the assistant, is empty.", "Give it a text or leave it out."
            )
        if message.role == "system" and index and messages[index - 1].role == "assistant":
            raise UsageError(
                f"messages[{index}] has the role system and follows an answer; Mixtral's prompt has no place for it.",
                "Put the system message first, or make it part of the next user message.",
            )
