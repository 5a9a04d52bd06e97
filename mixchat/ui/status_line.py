"""The bottom line of a chat.

Knows what matters most there and what gives way on a narrow screen; refuses to know how the line is put on the screen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mixchat.app.events import Opened
from mixchat.plan.values import CPU, Plan
from mixchat.ui.sanitize import columns, single_line
from mixchat.ui.stats import format_speed

_BETWEEN: Final = " | "
_GIVES_WAY: Final = ("output", "session", "persona", "placement", "speed", "editing", "model")
"""The first ones first; what is left at the end are the tokens."""
_LEAST_NAME: Final = 6


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """What the bottom line may say; empty texts and zeros are left out.

    Attributes:
        model: What the person calls it.
        placement: Where it lies, in a few words.
        used: Tokens that the conversation takes of the context.
        context: All of them; 0 while no model is loaded.
        speed: Tokens per second of the last answer.
        raw: Answers are shown as they come, not as Markdown.
        persona: Its name.
        session: Its name.
        editing: The message that the next text replaces.
    """

    model: str
    placement: str = ""
    used: int = 0
    context: int = 0
    speed: float = 0.0
    raw: bool = False
    persona: str = ""
    session: str = ""
    editing: str = ""


def status_line(facts: StatusFacts, width: int) -> str:
    """One clean line of at most `width` columns, without style; from 10 columns on it says something.

    1. Parts leave whole, the least important first: how answers look, the names of session and persona, placement,
       speed.
    2. The model's name is cut before it leaves.
    3. Tokens become a share where their numbers do not fit.
    """
    parts = {name: single_line(text) for name, text in _parts(facts).items() if text}
    for name in _GIVES_WAY:
        if _columns(parts) <= width:
            break
        room = width - _columns(parts) + columns(parts.get(name, ""))
        if name == "model" and room >= _LEAST_NAME:
            parts[name] = single_line(parts[name], room)
        elif len(parts) > 1:
            parts.pop(name, None)
    if _columns(parts) > width and facts.context:
        parts = {"used": f"{100 * facts.used / facts.context:.0f} %"}
    return single_line(_BETWEEN.join(parts.values()), width)


def placement_words(opened: Opened) -> str:
    """Where the weights lie: `all in RAM`, `all in VRAM`, `12 of 32 layers' experts in VRAM`.

    VRAM is the memory of all GPUs, those of other machines included. The token embedding is always in RAM and does not
    count.
    """
    plan, layers = opened.plan, len(opened.plan.layers)
    if not plan.on_gpu:
        return "all in RAM"
    if _all_in_vram(plan):
        return "all in VRAM"
    if opened.model.n_experts:
        return f"{plan.expert_layers} of {layers} layers' experts in VRAM"
    return f"{min(plan.n_gpu_layers, layers)} of {layers} layers in VRAM"


def _all_in_vram(plan: Plan) -> bool:
    return plan.head != CPU and all(CPU not in {each.attention, each.up, each.gate, each.down} for each in plan.layers)


def _parts(facts: StatusFacts) -> Mapping[str, str]:
    """In the order in which they stand."""
    return {
        "editing": facts.editing,
        "model": facts.model,
        "placement": facts.placement,
        "used": f"{facts.used}/{facts.context}" if facts.context else "",
        "speed": format_speed(facts.speed) if facts.speed > 0 else "",
        "output": "raw" if facts.raw else "markdown",
        "persona": facts.persona,
        "session": facts.session,
    }


def _columns(parts: Mapping[str, str]) -> int:
    texts: Sequence[str] = tuple(parts.values())
    return sum(map(columns, texts)) + len(_BETWEEN) * (len(texts) - 1)
