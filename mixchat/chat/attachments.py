"""Files that go into a message, and the one user text that they make together.

Knows how a file is set off from what the person writes; refuses to know where it was read and what tokens it has.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mixchat.chat.inputs import without_surrogates

_SHORTEST_FENCE: Final = 3
_TICKS: Final = re.compile("`+")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file: what to call it, and its text as decoded."""

    name: str
    text: str


def render_attachments(attachments: Iterable[Attachment], text: str) -> str:
    """The files, each under its name and in a Markdown fence, then what the person says, with blank lines between.

    The question comes last, where models heed it best. A blank text leaves the files alone.
    """
    parts = [render_attachment(attachment) for attachment in attachments]
    if text.strip() or not parts:
        parts.append(text)
    return "\n\n".join(parts)


def render_attachment(attachment: Attachment) -> str:
    """One file as it stands in a message.

    Its fence is longer than any run of backticks in it, so that no line of the file can close it:
    https://spec.commonmark.org/0.31.2/#fenced-code-blocks.
    """
    text = without_surrogates(attachment.text)
    end = "" if not text or text.endswith("\n") else "\n"
    fence = "`" * max(_SHORTEST_FENCE, *(len(run) + 1 for run in _TICKS.findall(text)), 0)
    return f"File {_title(attachment.name)}:\n{fence}\n{text}{end}{fence}"


def _title(name: str) -> str:
    """A file's name on one line, whatever characters it is made of."""
    return "".join(char if char.isprintable() else "\ufffd" for char in name)
