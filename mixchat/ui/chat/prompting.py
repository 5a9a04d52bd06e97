"""What stands around the line that a person types: the bottom line, and what Tab offers.

Knows where their facts come from; refuses to know how they are shown.
"""

from collections.abc import Callable

from mixchat.app.chat_settings import RELOADING, SETTABLE
from mixchat.app.conversing import Conversation
from mixchat.app.shelf import Shelf
from mixchat.store.options import SETTINGS
from mixchat.ui.chat.commands import COMMANDS, SHOWN
from mixchat.ui.chat.context import Desk
from mixchat.ui.completion import CommandWords
from mixchat.ui.status_line import StatusFacts, placement_words, status_line


def status_of(talk: Conversation, persona: str = "", desk: Desk | None = None) -> Callable[[int], str]:
    """The bottom line for a width."""

    def editing() -> str:
        at = desk.editing if desk else None
        return f"editing message {2 * at.index + (1 if at.whose == 'user' else 2)}" if at else ""

    def status(width: int) -> str:
        opened, last = talk.opened, talk.last
        facts = StatusFacts(
            model=talk.dialogue.model,
            placement=_placement(talk),
            used=talk.context.used,
            context=opened.loaded.context if opened else 0,
            speed=last.timings.decode_tps if last else 0.0,
            raw=talk.settings.value("output") == "raw",
            persona=persona,
            session=talk.dialogue.name,
            editing=editing(),
        )
        return status_line(facts, width)

    return status


def _placement(talk: Conversation) -> str:
    if talk.opened is None:
        return "not loaded"
    return "loads again" if talk.reloads else placement_words(talk.opened)


def words_for(talk: Conversation, shelf: Shelf) -> CommandWords:
    """The commands, and what may follow each."""
    keys = (*SETTABLE, *RELOADING)
    values = {f"set {each.name}": (lambda known=each.choices: known) for each in SETTINGS if each.choices}
    return CommandWords(
        {name: meaning.does for name, meaning in COMMANDS.items()},
        {
            **values,
            "set": lambda: keys,
            "show": lambda: SHOWN,
            "copy": lambda: ("code",),
            "model": shelf.models,
            "back": lambda: talk.past.checkpoints,
            "load": lambda: [name for each in shelf.all() for name in (each.name, each.id) if name],
        },
        frozenset({"file", "export"}),
    )
