"""Long pastes behind short placeholders.

Knows which paste a placeholder stands for; refuses to know how it was pasted and what it means.
"""

import re
from collections.abc import Iterator
from typing import Final

from mixchat.ui.blocks import MARK

_MOST_LINES: Final = 8
_MOST_CHARS: Final = 800
_PLACEHOLDER: Final = re.compile(r"\[pasted #[0-9]+: [0-9]+ (?:lines?|characters)\]")


class Pastes:
    """The pastes of one chat; a placeholder is good for all its messages."""

    def __init__(self) -> None:
        self._contents: dict[str, str] = {}

    def taken(self, pasted: str) -> str:
        r"""What to put into the line for a paste: its text with LF as line ends, or a placeholder.

        A placeholder stands for more than 8 lines or 800 characters, and for what would not be sent as it is: a text
        that begins like a block, ends in a backslash, or holds what looks like a placeholder.
        """
        text = pasted.replace("\r\n", "\n").replace("\r", "\n")
        misread = text.startswith(MARK) or text.endswith("\\") or _PLACEHOLDER.search(text)
        return self._folded(text) if misread or _is_long(text) else text

    def whole(self, text: str) -> str:
        """The text with each placeholder replaced by its paste; a damaged or unknown one stays as it is."""
        return _PLACEHOLDER.sub(lambda match: self._contents.get(match[0], match[0]), text)

    def refolded(self, text: str) -> str:
        """The text with each long paste of this chat behind its placeholder again."""
        parts = [(text, False)]
        long = [(content, placeholder) for placeholder, content in self._contents.items() if _is_long(content)]
        for content, placeholder in sorted(long, key=lambda pair: len(pair[0]), reverse=True):
            parts = [piece for part in parts for piece in _split(part, content, placeholder)]
        return "".join(part for part, _is_placeholder in parts)

    def _folded(self, text: str) -> str:
        for placeholder, content in self._contents.items():
            if content == text:
                return placeholder
        placeholder = f"[pasted #{len(self._contents) + 1}: {_size(text)}]"
        self._contents[placeholder] = text
        return placeholder


def _split(part: tuple[str, bool], content: str, placeholder: str) -> Iterator[tuple[str, bool]]:
    text, done = part
    if done:
        yield part
        return
    first, *others = text.split(content)
    yield first, False
    for other in others:
        yield placeholder, True
        yield other, False


def _is_long(text: str) -> bool:
    return _lines(text) > _MOST_LINES or len(text) > _MOST_CHARS


def _lines(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n"))


def _size(text: str) -> str:
    lines = _lines(text)
    return f"{lines} lines" if lines > 1 else f"{len(text)} characters"
