"""What the use cases tell while they work.

Knows the values; refuses to know how they are shown. Engine events pass through unchanged.
"""

from dataclasses import dataclass

from mixchat.engine.events import Finished, Loaded, Loading, LoadRequest, Prefilling, Token
from mixchat.gguf.model import MoeModel
from mixchat.plan.values import Machine, Plan
from mixchat.routing.routed_text import RoutedText
from mixchat.routing.tally import Report


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the person should know, in one sentence; not an error."""

    text: str


@dataclass(frozen=True, slots=True)
class Making:
    """The demo model is being made; `fraction` runs from 0 to 1."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Measuring:
    """A measurement is under way; `fraction` of all of them from 0 to 1."""

    what: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A model is loaded and ready.

    Attributes:
        name: What the person calls it.
        model: What its file says.
        plan: Where it lies.
        loaded: What llama.cpp really allocated.
        request: What it was asked for.
        machine: What it was placed on.
    """

    name: str
    model: MoeModel
    plan: Plan
    loaded: Loaded
    request: LoadRequest
    machine: Machine


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of what the model writes on its reasoning channel: not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Enlarged:
    """A larger context, and what it costs.

    Attributes:
        context: Tokens.
        effect: What changes, in words: bytes of KV cache, layers, speed.
    """

    context: int
    effect: str


@dataclass(frozen=True, slots=True)
class Full:
    """The context is full, and the person is to choose; nothing was evaluated or changed.

    Attributes:
        tokens: Of the prompt as it would be.
        context: Tokens of context, of which an answer needs some.
        turns: So many of the oldest turns would be left out.
        freed: Their tokens.
        enlarged: A context that would hold it; None when the model or the machine has none.
    """

    tokens: int
    context: int
    turns: int
    freed: int
    enlarged: Enlarged | None


@dataclass(frozen=True, slots=True)
class Tracing:
    """Texts are being traced.

    Attributes:
        name: What a person calls them.
        fraction: Of all, from 0 to 1.
        tokens: So many were traced.
    """

    name: str
    fraction: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Traced:
    """What the routers chose for texts.

    Attributes:
        name: What a person calls them.
        text: The beginning of them, token by token.
        report: Of all.
        complete: Not interrupted before the end.
    """

    name: str
    text: RoutedText
    report: Report
    complete: bool = True


OpenEvent = Notice | Making | Loading | Opened
AnswerEvent = Notice | Prefilling | Thinking | Token | Finished
ChatEvent = OpenEvent | AnswerEvent | Full | Tracing | Traced
