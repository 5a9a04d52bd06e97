"""The sessions that a chat can begin, go on with and name.

Knows whether this chat is saved at all; refuses to know what is in a session.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from mixchat.app.conversing import Conversation
from mixchat.app.exporting import told
from mixchat.app.house import House
from mixchat.app.recording import Log
from mixchat.chat.export import About
from mixchat.chat.journal import Dialogue
from mixchat.errors import NotFound, UsageError
from mixchat.models.library import installed
from mixchat.store.session_index import Found, SessionInfo, find, latest, list_sessions, read_session, search, title_of
from mixchat.store.sessions import Session, Unsaved, create, open_session


@dataclass(frozen=True, slots=True)
class Shelf:
    """Sessions on disk; with `saving` off nothing is written, and those of before can still be read.

    Attributes:
        house: The outside.
        saving: This chat is kept.
    """

    house: House
    saving: bool = True

    def new(self) -> Log:
        """A session that has nothing in it; it is on disk with its first record."""
        return create(self.house.places, self.house.now()) if self.saving else Unsaved()

    def open(self, reference: str) -> Session:
        """A session to go on with, by id, the beginning of one, or name; an empty reference means the last one.

        Raises:
            UsageError: This chat is not saved, or several are meant.
            NotFound: There is none.
            InUse: It is open in another terminal.
            OutputError: It cannot be read.
        """
        self._check()
        return open_session(self.house.places, reference or latest(self.house.places))

    def other(self, reference: str, session: str) -> str:
        """The id of the session that is meant; an empty reference means the last one that is not `session`.

        Raises:
            NotFound: There is none.
            UsageError: Several are meant.
        """
        self._check()
        if reference:
            return find(self.house.places, reference)
        others = [info.id for info in self.all() if info.id != session and info.purpose == "chat"]
        if not others:
            raise NotFound("There is no other session.", "/sessions lists them.")
        return others[0]

    def told(self, talk: Conversation) -> tuple[Dialogue, About]:
        """A chat that is still going on, ready for an export."""
        now, dialogue = self.house.now(), talk.dialogue
        with suppress(NotFound):
            _dialogue, about = told(read_session(self.house.places, talk.session))
            return dialogue, replace(about, changed=now)
        models = (dialogue.model,) * len(dialogue.transcript.turns)
        return dialogue, About(talk.session, title_of(dialogue), now, now, models)

    def models(self) -> tuple[str, ...]:
        """What the models on this machine are called."""
        return tuple(each.record.name for each in installed(self.house.places))

    def all(self) -> tuple[SessionInfo, ...]:
        """The sessions, the one that was changed last first."""
        return list_sessions(self.house.places)

    def search(self, words: str) -> tuple[Found, ...]:
        """Those with all the words in their texts."""
        return search(self.house.places, words)

    def _check(self) -> None:
        if not self.saving:
            raise UsageError("This chat is not saved, so it cannot go on with a session.", "Leave out --no-save.")
