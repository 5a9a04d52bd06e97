"""How sessions leave the disk: one that a person removes, and old ones that `mixchat ask` began.

Knows what lies beside a session and which one nobody misses; refuses to know which one a person means. A session goes
only under its lock, so one that is open stays.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from mixchat.chat.journal import Answered, ModelChosen, SystemSet
from mixchat.errors import InUse, NotFound, OutputError
from mixchat.store.atomic import remove_leftovers, sync_folder
from mixchat.store.locks import hold
from mixchat.store.places import Places
from mixchat.store.session_file import (
    asked_ids,
    damaged_path,
    lock_path,
    read_file,
    session_path,
)
from mixchat.store.snapshots import remove_snapshot

MOST_ASKED: Final = 100
"""Sessions of `mixchat ask` that are kept, those that were changed last; a chat's are never counted or removed."""

_OF_ASK: Final = (Answered, ModelChosen, SystemSet)
"""What `ask` writes; anything else is a person's who went on with it in a chat, or named it."""


def discard(places: Places, session: str, *, sync: bool = True) -> None:
    """Remove a session's files; hold its lock.

    Args:
        places: The folders.
        session: Its id.
        sync: Return only when a power cut can no longer bring it back.

    Raises:
        OutputError: They cannot be removed.
    """
    remove_snapshot(places, session)
    path = session_path(places, session)
    remove_leftovers(path)
    try:
        for each in (damaged_path(places, session), path, lock_path(places, session)):
            each.unlink(missing_ok=True)
        if sync:
            sync_folder(path.parent)
    except OSError as exc:
        raise OutputError(
            f"The session {session} cannot be removed: {exc.strerror or exc}.",
            "Check the permissions of its folder.",
        ) from exc


def prune_asked(places: Places, most: int = MOST_ASKED) -> None:
    """Remove the sessions that `ask` began but for those that were changed last.

    One that is open, that was gone on with in a chat, or that cannot be read or removed, stays.
    """
    for session in _by_age(places)[:-most]:
        with suppress(InUse, NotFound, OutputError), hold(lock_path(places, session), timeout=0):
            if _is_ask_s_alone(places, session):
                discard(places, session, sync=False)


def _by_age(places: Places) -> list[str]:
    """The sessions that may be of `ask`, the one that was not changed for longest first."""
    return [session for _when, session in sorted(_changed(places))]


def _changed(places: Places) -> Iterator[tuple[int, str]]:
    for session in asked_ids(places):
        with suppress(OSError):
            yield os.stat(session_path(places, session)).st_mtime_ns, session  # noqa: PTH116 - a hundred at every ask


def _is_ask_s_alone(places: Places, session: str) -> bool:
    kept = read_file(places, session)
    readable = not (kept.damage or kept.read_only)
    return readable and kept.purpose == "ask" and all(isinstance(each, _OF_ASK) for each in kept.records)
