"""Which settings a person may change in a chat.

Knows those that count from the next answer on and those for which the model is loaded again; refuses to know what they
do and how a change is kept.
"""

from typing import Final

from mixchat.app.events import Opened
from mixchat.app.wishes import wishes_of
from mixchat.errors import UsageError
from mixchat.plan.place import place
from mixchat.store.options import Value, nearest
from mixchat.store.settings import Settings

SETTABLE: Final = (
    *("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed", "max_tokens"),
    *("overflow", "output", "snapshots"),
)
"""They count from the next answer on."""

RELOADING: Final = (
    *("ctx", "kv_type", "vram", "ram", "device", "expert_layers", "gpu_layers", "experts_used", "override", "rpc"),
    *("threads", "ubatch", "load_mode"),
)
"""The model is loaded again."""


def check_change(settings: Settings, key: str, text: str) -> None:
    """Refuse a change that makes no sense; an empty text takes a change back.

    Raises:
        UsageError: It is no setting of a chat, or the value is wrong.
    """
    known = (*SETTABLE, *RELOADING)
    if key in known:
        settings.with_chat({key: text} if text else {})
        return
    near = nearest(key.replace("-", "_"), known)
    hint = f"Did you mean {near}?" if near else f"There are: {', '.join(known)}."
    raise UsageError(f"A chat has no setting {key!r}.", hint)


def loaded_with(settings: Settings) -> tuple[Value, ...]:
    """What decides how a model is loaded."""
    return tuple(settings.chosen[key].value for key in RELOADING)


def check_room_for(opened: Opened, settings: Settings) -> None:
    """Refuse settings with which the loaded model would not fit the machine that it was placed on.

    Raises:
        DoesNotFit: It would not.
        UsageError: Two settings contradict each other.
    """
    place(opened.model, opened.machine, wishes_of(settings))


def outdated(settings: Settings, key: str, text: str) -> str:
    """Why a setting of an older session counts no longer; empty when it does."""
    try:
        check_change(settings, key, text)
    except UsageError as error:
        return f"The session sets {key} to {text!r}, which counts no longer: {error.message}"
    return ""
