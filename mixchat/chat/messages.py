"""The values that a conversation is made of.

Knows roles, turns and prompt pieces; refuses to know tokens, templates' syntax and where a text came from.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, its text exactly as written."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What a person said and what the model answered.

    Attributes:
        user: The person's text.
        assistant: The answer so far; empty when none came.
        interrupted: The answer was stopped before the model ended it.
    """

    user: str
    assistant: str
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """Markup that a prompt format writes, such as `<s>` or `<|im_start|>user`; may become control tokens."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a person, a file or a model; never becomes a control token."""

    text: str


Piece = Control | Text
