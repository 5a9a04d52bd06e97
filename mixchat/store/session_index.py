"""Which sessions there are, and which of them a person means.

Knows ids, names and words in texts; refuses to know how one is written. Whatever cannot be read is listed as damaged.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mixchat.chat.journal import Dialogue, replay
from mixchat.chat.messages import Turn
from mixchat.chat.records import LOST
from mixchat.errors import NotFound, OutputError, UsageError
from mixchat.store.options import nearest
from mixchat.store.places import Places
from mixchat.store.session_file import Kept, Purpose, purpose_of, read_file, session_ids, session_path

_LIST: Final = "mixchat sessions list shows them."
_TITLE: Final = 200
_EXCERPT: Final = 160
_LEAD: Final = 40
_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session in a list.

    Attributes:
        id: Its id.
        name: What the person called it; empty: nothing.
        title: The first line of what the person said first.
        started: When it began.
        changed: When something was added last.
        turns: Turns that still count.
        model: The model reference that answered last; empty: none did.
        nbytes: Bytes on disk, without its snapshot.
        damaged: Some of it cannot be read.
        purpose: What began it.
    """

    id: str
    name: str
    title: str
    started: datetime
    changed: datetime
    turns: int
    model: str
    nbytes: int
    damaged: bool = False
    purpose: Purpose = "chat"


@dataclass(frozen=True, slots=True)
class Found:
    """A session that holds all words that were looked for, and a place in its text where they are."""

    info: SessionInfo
    excerpt: str


def list_sessions(places: Places) -> tuple[SessionInfo, ...]:
    """All sessions, the one that was changed last first."""
    return tuple(info for info, _dialogue in _all(places))


def search(places: Places, text: str) -> tuple[Found, ...]:
    """The sessions whose turns and name hold all the words, in any case, the one that was changed last first."""
    words = text.casefold().split()
    found = []
    for info, dialogue in _all(places):
        texts = [info.name, *_texts(dialogue.transcript.turns)]
        if words and all(any(word in each.casefold() for each in texts) for word in words):
            found.append(Found(info, _excerpt(texts, words)))
    return tuple(found)


def find(places: Places, ref: str) -> str:
    """The id of the session that a person means: by its id, its name, or the beginning of its id.

    Raises:
        NotFound: There is no such session.
        UsageError: There are several.
    """
    ids = session_ids(places)
    if ref in ids:
        return ref
    infos = list_sessions(places) if ids else ()
    matches = [info.id for info in infos if ref and info.name.casefold() == ref.casefold()]
    matches = matches or [each for each in ids if ref and each.startswith(ref)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        more = ", ..." if len(matches) > _SHOWN else ""
        raise UsageError(
            f"{len(matches)} sessions are called {ref} or begin like that.",
            f"Give more of the id: {', '.join(sorted(matches)[:_SHOWN])}{more}",
        )
    near = nearest(ref, [*ids, *(info.name for info in infos if info.name)])
    raise NotFound(f"There is no session {ref}.", f"Did you mean {near}? {_LIST}" if near else _LIST)


def latest(places: Places, purpose: Purpose = "chat") -> str:
    """The id of the session that was changed last among those that a chat, or `ask`, began.

    Raises:
        NotFound: There is none.
    """
    found: list[tuple[int, str]] = []
    for each in session_ids(places):
        with suppress(OSError):
            about = session_path(places, each).stat()
            if about.st_size:
                found.append((about.st_mtime_ns, each))
    newest = (each for _when, each in sorted(found, reverse=True) if purpose_of(places, each) == purpose)
    if (session := next(newest, None)) is None:
        raise NotFound("There is no session to go on with.", f"mixchat {purpose} begins one.")
    return session


def read_session(places: Places, ref: str) -> Kept:
    """Read a session without opening it for writing, also while another process does that.

    Raises:
        NotFound: There is no such session.
        UsageError: There are several.
        OutputError: It cannot be read.
    """
    return read_file(places, find(places, ref))


def info_of(places: Places, session: str) -> SessionInfo:
    """One session as it is listed, by its id.

    Raises:
        NotFound: It is not there.
    """
    return _read(places, session)[0]


def title_of(dialogue: Dialogue) -> str:
    """The first line of what the person said first, at most 200 characters; empty when that is nothing."""
    said = [turn.user for turn in dialogue.transcript.turns if turn != LOST] or [dialogue.draft]
    return next((line.strip()[:_TITLE] for line in said[0].splitlines() if line.strip()), "")


def _all(places: Places) -> Iterator[tuple[SessionInfo, Dialogue]]:
    """Every session but those that were made and never written."""
    found = []
    for each in session_ids(places):
        with suppress(NotFound):
            found.append(_read(places, each))
    listed = [each for each in found if each[0].nbytes or each[0].damaged]
    yield from sorted(listed, key=lambda each: (each[0].changed, each[0].id), reverse=True)


def _read(places: Places, session: str) -> tuple[SessionInfo, Dialogue]:
    try:
        kept = read_file(places, session)
    except OutputError:
        never = datetime.fromtimestamp(0, UTC)
        return SessionInfo(session, "", "", never, never, 0, "", 0, damaged=True), Dialogue()
    dialogue = replay(kept.records)
    info = SessionInfo(
        id=kept.id,
        name=dialogue.name,
        title=title_of(dialogue),
        started=kept.created,
        changed=kept.changed,
        turns=len(dialogue.transcript.turns),
        model=dialogue.model,
        nbytes=kept.nbytes,
        damaged=bool(kept.damage),
        purpose=kept.purpose,
    )
    return info, dialogue


def _texts(turns: Sequence[Turn]) -> Iterator[str]:
    for turn in turns:
        yield turn.user
        yield turn.assistant


def _excerpt(texts: Sequence[str], words: Sequence[str]) -> str:
    """Of the line with the most of the words, what stands around the first of them."""
    lines = [line for text in texts for line in text.splitlines()]
    best = max(lines, key=lambda line: sum(word in line.casefold() for word in words))
    low = best.casefold()
    first = min(low.find(word) for word in words if word in low)
    start = max(first - _LEAD, 0)
    cut = best[start : start + _EXCERPT].strip()
    return ("…" if start else "") + cut + ("…" if len(best) > start + _EXCERPT else "")
