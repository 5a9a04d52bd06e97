"""A chat's context when it gets full: which turns would go, and what a larger one costs.

Knows token counts, the window of a transcript and the planner; refuses to know who chooses.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mixchat.app.events import Enlarged, Opened
from mixchat.app.forecasting import forecast_at
from mixchat.app.prompt import Prompt
from mixchat.app.wishes import wishes_of
from mixchat.chat.transcript import Transcript
from mixchat.chat.window import fit
from mixchat.errors import DoesNotFit, UsageError
from mixchat.plan.place import place
from mixchat.plan.units import format_bytes
from mixchat.plan.values import Plan
from mixchat.store.settings import Settings

_ANSWER_SHARE: Final = 4
_ANSWER_TOKENS: Final = 1024
_STEP: Final = 1024
_REST: Final = 3 / 4
"""When turns are left out, so many that this share of the room stays in use: each time the prompt's beginning changes
all of it is evaluated again."""

SUMMARISE: Final = (
    "Summarise our conversation so far in at most 200 words, so that it can go on from the summary alone. Keep names, "
    "figures, decisions and open questions. Write only the summary."
)
SUMMARY_TOKENS: Final = 400


def room_of(context: int) -> int:
    """Tokens that a prompt may have, so that an answer has room too."""
    return context - min(_ANSWER_TOKENS, context // _ANSWER_SHARE)


@dataclass(frozen=True, slots=True)
class Window:
    """What leaving turns out would do.

    Attributes:
        left_out: Of the transcript, then.
        turns: How many answered turns go.
        freed: Their tokens.
    """

    left_out: int
    turns: int
    freed: int


def window_for(prompt: Prompt, bare: int, transcript: Transcript, context: int) -> int | None:
    """How many of the oldest turns must go so that a prompt fits; None when none has to, or leaving out all is too few.

    Args:
        prompt: Of all the turns within the window.
        bare: Tokens of the same prompt without any turn.
        transcript: What it was made of.
        context: Tokens of context.
    """
    if bare >= context or not transcript.answered:
        return None
    turns, room = _turn_tokens(prompt, bare, transcript), room_of(context)
    count = fit(turns, bare, room if bare <= room else context - 1)
    if count and bare <= int(room * _REST):
        count = max(count, fit(turns, bare, int(room * _REST)))
    return _position(transcript, count) if count else None


def enlarged(opened: Opened, settings: Settings, tokens: int) -> Enlarged | None:
    """A context in which a prompt of so many tokens has room, twice the present one if that can be.

    Returns:
        None when the model was not trained for it or this machine has no room.
    """
    plan = opened.plan
    needed = -(-(tokens + _ANSWER_TOKENS) // _STEP) * _STEP
    for context in (max(2 * plan.context, needed), needed):
        if plan.context < context <= opened.model.context_length:
            with suppress(DoesNotFit, UsageError):
                larger = place(opened.model, opened.machine, wishes_of(settings.with_chat({"ctx": str(context)})))
                return Enlarged(larger.context, _effect(opened, larger))
    return None


def _effect(opened: Opened, larger: Plan) -> str:
    """What changes when another plan takes the present one's place; speeds at the depth that both can have."""
    plan = opened.plan
    more = sum(share.footprint.kv for share in larger.shares) - sum(share.footprint.kv for share in plan.shares)
    parts = [f"{format_bytes(max(more, 0))} more KV cache"]
    if fewer := plan.expert_layers - larger.expert_layers:
        parts.append(f"{fewer} fewer layers' experts in VRAM")
    depth = plan.context // 2
    before, then = (forecast_at(opened.model, opened.machine, each, depth) for each in (plan, larger))
    if before and then and f"{before.decode_tps:.1f}" != f"{then.decode_tps:.1f}":
        parts.append(f"decode {then.decode_tps:.1f} instead of {before.decode_tps:.1f} t/s")
    return ", ".join(parts)


def _position(transcript: Transcript, count: int) -> int:
    """The turn in front of which the window begins when it loses so many answered turns."""
    position = transcript.left_out
    for turn in transcript.turns[transcript.left_out :]:
        if count <= 0:
            break
        count -= bool(turn.assistant.strip())
        position += 1
    return position


def _turn_tokens(prompt: Prompt, bare: int, transcript: Transcript) -> list[int]:
    """Tokens of each answered turn, the oldest first: its texts and its share of the markup, rounded up.

    Some formats put the system text in front of the first message, which is not the first turn's: it goes to the next
    one. Of a prompt in one piece each turn gets an equal share.
    """
    sizes = [len(segment.tokens) for segment in prompt.segments if segment.role in {"user", "assistant"}]
    turns = len(transcript.answered)
    texts = [0] * turns
    if len(sizes) == 2 * turns + 1:
        texts = [sizes[2 * index] + sizes[2 * index + 1] for index in range(turns)]
    rest = len(prompt.tokens) - bare - sum(texts)
    if rest < 0:
        return [max(texts[0] + rest, 0), *texts[1:]]
    return [size - (-rest // turns) for size in texts]
