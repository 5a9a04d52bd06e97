"""From messages to the exact tokens of a prompt.

Knows the two families of prompts and how an untrusted template is kept apart from what people write; refuses to know
which turns should be in it.
"""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mixchat.app.source import Format
from mixchat.chat import marks, mistral
from mixchat.chat.messages import Control, Message, Piece, Role, Text
from mixchat.chat.order import check_order
from mixchat.engine.port import Engine
from mixchat.errors import BadTemplate

_FOLDED = "The model's template has no place for a system prompt; it goes in front of the first message."
_NONCE_BYTES = 8
# What markup looks like; other tokens of a vocabulary's own, runs of blanks for example, are plain text.
_MARK: Final = re.compile(r"<[^<>\s]+>|\[[A-Za-z/_]+\]")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt: whose text, the text and its tokens."""

    role: Role | Literal["template"]
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, ready to be evaluated, and what the person should know about it."""

    segments: tuple[Segment, ...]
    notices: tuple[str, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """All token ids."""
        return tuple(token for segment in self.segments for token in segment.tokens)


def build(engine: Engine, form: Format, messages: Sequence[Message], spoken: Mapping[str, tuple[int, ...]]) -> Prompt:
    """Render and tokenize a conversation.

    Args:
        engine: Has the model, or its vocabulary, loaded.
        form: How the model wants its prompt.
        messages: The conversation; a person speaks last.
        spoken: Tokens of answers as the model sampled them, by text: what it said is evaluated already, and taking the
            same tokens again keeps it so.

    Raises:
        UsageError: The order of the messages cannot be expressed.
        BadTemplate: The model's template fails.
    """
    if form.family == "mistral-v1":
        pieces, notices = mistral.render(messages), mistral.warnings(messages)
        roles = _mistral_roles(pieces)
    else:
        check_order(messages)
        pieces, notices = _from_template(engine, form, messages)
        roles = _template_roles(pieces, messages)
    ids = _tokens(engine, pieces, form.defined_tokens)
    segments = (
        Segment(role, text, spoken.get(text, tokens) if role == "assistant" else tokens)
        for role, text, tokens in zip(roles, map(_text, pieces), ids, strict=True)
    )
    return Prompt(tuple(segments), notices)


def _from_template(
    engine: Engine, form: Format, messages: Sequence[Message]
) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    """Render with the file's template; a system text that it refuses or drops goes to the first message instead."""
    has_system = messages[0].role == "system" and bool(messages[0].text.strip())
    try:
        pieces = _render(engine, form, messages)
    except BadTemplate:
        if not has_system:
            raise
        pieces = None
    if pieces is not None:
        return pieces, ()
    folded = _fold_system(messages) if has_system else messages
    pieces = _render(engine, form, folded)
    if pieces is None:
        raise BadTemplate(
            "The model's chat template leaves out a part of the conversation.",
            "Try another conversion of this model.",
        )
    return pieces, (_FOLDED,)


def _render(engine: Engine, form: Format, messages: Sequence[Message]) -> tuple[Piece, ...] | None:
    """Render as `chat.marks` says; None when the template leaves a message out.

    An answer may be left out in part (a model's reasoning), which only shows when the real messages are rendered.
    """
    nonce = secrets.token_hex(_NONCE_BYTES)

    def rendered(wanted: Sequence[Message]) -> str:
        return engine.render(form.template, wanted, form.bos, form.eos)

    marked = rendered(marks.mark(messages, nonce))
    missing = marks.dropped(marked, messages, nonce)
    if any(messages[index].role != "assistant" for index in missing):
        return None
    split = marks.split(marked, messages, nonce)
    pieces = marks.reconcile(split, rendered(messages)) if split is not None else None
    if pieces is not None:
        return pieces
    defused = [replace(message, text=marks.defuse(message.text, form.control_tokens)) for message in messages]
    return (Control(rendered(defused)),)


def _fold_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Put the system text in front of the first user's, as Mixtral's own format does."""
    system, rest = messages[0], list(messages[1:])
    first = next(index for index, message in enumerate(rest) if message.role == "user")
    rest[first] = replace(rest[first], text=f"{system.text}\n\n{rest[first].text}")
    return tuple(rest)


def _tokens(engine: Engine, pieces: Sequence[Piece], defined: Sequence[str]) -> list[tuple[int, ...]]:
    """The ids of each piece.

    llama.cpp makes tokens of the kind "user defined" of their text wherever it stands, some of gpt-oss's and Qwen's
    markup among them: a text that holds one is tokenized in two parts, cut behind the mark's first character.
    """
    marks = [token for token in defined if _MARK.fullmatch(token)]
    cut = [_cut(piece, marks) for piece in pieces]
    ids = iter(engine.tokenize([part for parts in cut for part in parts], prompt=True))
    return [tuple(token for _part in parts for token in next(ids)) for parts in cut]


def _cut(piece: Piece, marks: Sequence[str]) -> list[Piece]:
    if isinstance(piece, Control) or not any(mark in piece.text for mark in marks):
        return [piece]
    ends = "|".join(f"(?<={re.escape(mark[0])})(?={re.escape(mark[1:])})" for mark in marks)
    return [Text(part) for part in re.split(ends, piece.text)]


def _text(piece: Piece) -> str:
    return piece.name if isinstance(piece, Control) else piece.text


def _mistral_roles(pieces: Sequence[Piece]) -> Iterator[Role | Literal["template"]]:
    for piece, following in zip(pieces, (*pieces[1:], None), strict=True):
        if isinstance(piece, Control):
            yield "template"
        else:
            yield "assistant" if following == mistral.EOS else "user"


def _template_roles(pieces: Sequence[Piece], messages: Sequence[Message]) -> Iterator[Role | Literal["template"]]:
    """Whose each piece is; a template may trim a text and may change the order."""
    left = list(messages)
    for piece in pieces:
        if isinstance(piece, Text):
            owner = next((message for message in left if message.text.strip() == piece.text.strip()), None)
            if owner is not None:
                left.remove(owner)
            yield owner.role if owner is not None else "user"
        else:
            yield "template"
