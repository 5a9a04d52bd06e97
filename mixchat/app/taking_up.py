"""What a chat that goes on with a log begins with.

Knows whether the command or the log decides; refuses to know how a record is kept.
"""

from collections.abc import Iterator

from mixchat.app.chat_settings import outdated
from mixchat.app.events import Notice
from mixchat.chat.journal import Dialogue, ModelChosen, Record, SystemSet, ValueSet
from mixchat.store.settings import Settings

_GIVEN = frozenset({"flag", "persona"})


def opening_records(
    before: Dialogue, settings: Settings, model: str | None, *, fresh: bool
) -> Iterator[Record | Notice]:
    """The records that a chat begins with, and what there is to know.

    What the command was given counts more than what the log says, and that more than the other settings.

    Args:
        before: What the log comes to.
        settings: Of the command.
        model: A model reference that the command was given.
        fresh: There is nothing in the log.
    """
    chosen = model or before.model or settings.value("model")
    if chosen != before.model:
        yield ModelChosen(chosen)
    system = settings.value("system") or ""
    if system != before.transcript.system and (fresh or settings.origin("system") in _GIVEN):
        yield SystemSet(system)
    for key, text in before.values.items():
        wrong = outdated(settings, key, text)
        if wrong or settings.origin(key) in _GIVEN:
            yield ValueSet(key, "")
        if wrong:
            yield Notice(wrong)
