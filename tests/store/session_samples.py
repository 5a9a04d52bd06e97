"""Sessions for tests: what is said in them, and how one is made."""

from datetime import UTC, datetime

from mixchat.chat.journal import Answered, Asked, ModelChosen, Named, Record, SystemSet
from mixchat.chat.messages import Turn
from mixchat.store.places import Places
from mixchat.store.session_file import session_path
from mixchat.store.sessions import create

NOW = datetime(2026, 11, 22, 4, 55, 30, tzinfo=UTC)


def turn(number: int, size: int = 1) -> Turn:
    return Turn(f"Question {number}\nin Zürich?", f"Answer {number}. " * size, tokens=(number, 7), vocabulary="v")


def talk(turns: int) -> tuple[Record, ...]:
    """A chat of so many turns."""
    begin: tuple[Record, ...] = (ModelChosen("demo"), SystemSet("Be brief."))
    said: list[Record] = []
    for number in range(turns):
        said += [Asked(turn(number).user), Answered(number, turn(number))]
    return begin + tuple(said)


def made(places: Places, *records: Record, name: str = "", now: datetime = NOW) -> str:
    """The id of a new session with these records."""
    with create(places, now) as session:
        session.append(*(records or talk(2)), *([Named(name)] if name else []))
        return session.id


def content(places: Places, session: str) -> bytes:
    return session_path(places, session).read_bytes()


def add(places: Places, session: str, data: bytes) -> None:
    """Put bytes behind a session, as a disk or a killed writer may."""
    with session_path(places, session).open("ab") as file:
        file.write(data)
