r"""The pure half of rendering a chat template from a model file, which is untrusted code.

A template yields one string, in which a text such as `<|im_end|>` typed by a person looks like the template's own.
So the template is rendered with a unique mark in place of each content, and the result is split there. Knows marks
and texts; refuses to know Jinja and tokens. What the renderer does with it:

1. `mark` the messages and render them. Name to the person what is `dropped`, above all a system text.
2. `split` the result, then `reconcile` it with a rendering of the real messages: a template that looks into contents
   (Qwen's cuts an answer at `</think>`) gives something else for marks.
3. When either gives None, `defuse` the contents, render those, and take the whole as one `Control`.

Contents that are empty or only white space are not marked: templates test for them, and they hold no control token.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from mixchat.chat.messages import Control, Message, Piece, Text

_OPEN, _CLOSE = "\ue000", "\ue001"
_NONCE = re.compile("[0-9a-f]{8,64}")
_ZERO_WIDTH_SPACE = "\u200b"
_PRIVATE_USE = range(0xE000, 0xF900)


def mark(messages: Sequence[Message], nonce: str) -> tuple[Message, ...]:
    """Replace each content by a mark that no template changes by accident without its being noticed.

    Args:
        messages: The conversation.
        nonce: 8 to 64 hexadecimal digits, fresh for each rendering, so that no content can hold a mark.

    Raises:
        ValueError: The nonce is malformed, or occurs in a content: draw another.
    """
    if not _NONCE.fullmatch(nonce) or any(nonce in message.text.lower() for message in messages):
        raise ValueError(f"unusable nonce {nonce!r}")
    return tuple(
        replace(message, text=f"{_OPEN}{_core(nonce, index)}{_CLOSE}") if message.text.strip() else message
        for index, message in enumerate(messages)
    )


def dropped(rendered: str, messages: Sequence[Message], nonce: str) -> tuple[int, ...]:
    """Indices of the messages whose content a template left out; a changed content is not left out."""
    folded = rendered.lower()
    return tuple(index for index in _marked(messages) if _core(nonce, index).lower() not in folded)


def split(rendered: str, messages: Sequence[Message], nonce: str) -> tuple[Piece, ...] | None:
    """Split what a template made of marked messages into its own text and the contents.

    Contents may come in another order than the messages.

    Args:
        rendered: The template's result for `mark(messages, nonce)`.
        messages: The messages before marking.
        nonce: The one they were marked with.

    Returns:
        `Control` for the template's text, `Text` for contents as they were before marking; None when a mark is
        missing, doubled or changed.
    """
    parts = re.split(f"{_OPEN}mX{nonce}n([0-9]{{1,9}})z{_CLOSE}", rendered)
    if sorted(parts[1::2]) != sorted(map(str, _marked(messages))):
        return None
    if any(nonce in own.lower() for own in parts[::2]):
        return None
    pieces: list[Piece] = []
    for position, part in enumerate(parts):
        if position % 2:
            pieces.append(Text(messages[int(part)].text))
        elif part:
            pieces.append(Control(part))
    return tuple(pieces)


def reconcile(pieces: Sequence[Piece], plain: str) -> tuple[Piece, ...] | None:
    """Hold what `split` gave against the template's result for the real messages.

    Returns:
        The pieces, their contents trimmed where the template trims them; joined they are `plain`. None when the
        template did more to the contents or chose its own text by them.
    """
    settled: list[Piece] = []
    at = 0
    for index, piece in enumerate(pieces):
        after = pieces[index + 1] if index + 1 < len(pieces) else None
        following = after.name if isinstance(after, Control) else ""
        form = next((form for form in _forms(piece) if plain.startswith(form + following, at)), None)
        if form is None:
            return None
        settled.append(piece if isinstance(piece, Control) else Text(form))
        at += len(form)
    return tuple(settled) if at == len(plain) else None


def defuse(content: str, control_tokens: Sequence[str]) -> str:
    """Change a content so that it holds no control token's text, and doing it again changes nothing.

    A zero-width space goes behind the first character of each occurrence, overlapping ones too; a token of a single
    character is replaced by it. Should a control token hold that character, a private-use one serves.
    """
    tokens = {token for token in control_tokens if token}
    breaker = _breaker(tokens)
    singles = {ord(token): breaker for token in tokens if len(token) == 1}
    content = content.translate(singles)
    starts = [
        f"{re.escape(first)}(?={'|'.join(re.escape(token[1:]) for token in tokens if token[0] == first)})"
        for first in {token[0] for token in tokens} - set(map(chr, singles))
    ]
    return re.sub("|".join(starts), lambda match: match[0] + breaker, content) if starts else content


def _core(nonce: str, index: int) -> str:
    # Letters of both cases: upper() and lower() cannot leave it unchanged.
    return f"mX{nonce}n{index}z"


def _marked(messages: Sequence[Message]) -> Iterator[int]:
    return (index for index, message in enumerate(messages) if message.text.strip())


def _forms(piece: Piece) -> tuple[str, ...]:
    if isinstance(piece, Control):
        return (piece.name,)
    trims = (str.strip, str.lstrip, str.rstrip)
    return (piece.text, *(trim(piece.text, chars) for chars in ("\n", None) for trim in trims))


def _breaker(tokens: set[str]) -> str:
    used = set(chain.from_iterable(tokens))
    return next(char for char in chain(_ZERO_WIDTH_SPACE, map(chr, _PRIVATE_USE)) if char not in used)
