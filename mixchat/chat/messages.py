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
        thinking: What the model wrote before its answer, on its reasoning channel; never part of a prompt.
        tokens: The answer as the model sampled it; empty where that is not known or not all of it was the answer.
        vocabulary: Whose tokens these are; any other model tokenizes the text again.
    """

    user: str
    assistant: str
    interrupted: bool = False
    thinking: str = ""
    tokens: tuple[int, ...] = ()
    vocabulary: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """Markup that a prompt format writes, such as `<s>` or `<|im_start|>user`; may become control tokens."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a person, a file or a model; never becomes a control token."""

    text: str


Piece = Control | Text
