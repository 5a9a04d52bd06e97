"""What `mixchat ask` keeps of a question and its answer, so that `-c` can go on with it.

Knows sessions and what a session is begun with; refuses to know formats. An answer counts although it cannot be kept.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from mixchat.app.events import ChatEvent, Notice, Thinking
from mixchat.app.house import House
from mixchat.app.recording import Log
from mixchat.app.taking_up import opening_records
from mixchat.chat.journal import Answered, Dialogue, Record, SystemSet, replay
from mixchat.chat.messages import Message, Turn
from mixchat.chat.turns import told_by
from mixchat.engine.events import Finished, Token
from mixchat.errors import InUse, OutputError
from mixchat.store.session_file import Purpose
from mixchat.store.session_index import latest
from mixchat.store.sessions import Unsaved, create, open_session
from mixchat.store.settings import Settings


def log_for(house: House, *, saving: bool, go_on: bool, purpose: Purpose = "ask") -> Log:
    """Where an answer is kept: a new session, or the one of the last question.

    Args:
        house: The outside.
        saving: Keep it; a session that is gone on with is read all the same, and stays as it is.
        go_on: Go on with the last one that `ask` began.
        purpose: What a new one is begun by.

    Raises:
        NotFound: There is none to go on with.
        InUse: It is open in another process.
        OutputError: It cannot be read.
    """
    if not go_on:
        return create(house.places, house.now(), purpose) if saving else Unsaved()
    session = open_session(house.places, latest(house.places, "ask"))
    if saving:
        return session
    session.close()
    unsaved = Unsaved()
    unsaved.records = session.records
    return unsaved


@dataclass(frozen=True, slots=True)
class Memory:
    """The session that a question belongs to.

    Attributes:
        log: Where it is kept.
        dialogue: What was said in it.
        begun: Records that are written with the first answer.
        notices: What a person should know about it.
    """

    log: Log
    dialogue: Dialogue
    begun: tuple[Record, ...] = ()
    notices: tuple[str, ...] = ()

    def messages(self, last: str) -> tuple[Message, ...]:
        """The conversation with what the person says now."""
        return self.dialogue.transcript.messages(last)

    def keeping(self, events: Iterator[ChatEvent], messages: Sequence[Message]) -> Generator[ChatEvent, None, None]:
        """Pass an answer on, and keep it at its end, also when the iterator is closed before.

        Args:
            events: Of the answer.
            messages: What was asked; what is new before the last message is kept too.
        """
        said: list[str] = []
        thought: list[str] = []
        try:
            for event in events:
                match event:
                    case Token(text):
                        said.append(text)
                    case Thinking(text):
                        thought.append(text)
                    case Finished(reason):
                        turn = Turn("", "".join(said), reason == "interrupted", "".join(thought))
                        said, thought = [], []
                        yield from self._keep(messages, turn)
                yield event
        finally:
            if said or thought:
                list(self._keep(messages, Turn("", "".join(said), interrupted=True, thinking="".join(thought))))

    def _keep(self, messages: Sequence[Message], answer: Turn) -> Iterator[Notice]:
        before = self.dialogue.transcript
        transcript, last = told_by(messages)
        new = (*transcript.turns[len(before.answered) :], replace(answer, user=last))
        system = [] if transcript.system == before.system else [SystemSet(transcript.system)]
        turns = (Answered(place, turn) for place, turn in enumerate(new, len(before.turns)))
        records: list[Record] = [*self.begun, *system, *turns]
        try:
            self.log.append(records[0], *records[1:])
        except (OutputError, InUse) as error:
            yield Notice(f"This answer is not saved: {error.message}")


def remember(log: Log, settings: Settings, model: str | None) -> Memory:
    """What a question begins with: what the command was given counts more than what the session says.

    Args:
        log: The session.
        settings: Of the command.
        model: A model reference that the command was given.
    """
    dialogue = replay(log.records)
    begun: list[Record] = []
    notices = list(getattr(log, "notices", ()))
    for item in opening_records(dialogue, settings, model, fresh=not log.records):
        if isinstance(item, Notice):
            notices.append(item.text)
        else:
            begun.append(item)
    return Memory(log, replay(begun, dialogue), tuple(begun), tuple(notices))
