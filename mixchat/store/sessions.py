"""Sessions: chats that are kept while they happen.

Knows when something of a session is safe on disk, who may write to it and what goes with it when it is removed;
refuses to know what a chat does. A session is a file of lines that only grows; see session_lines.py for the lines and
session_file.py for what is read of a damaged one.
"""

import os
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from mixchat.chat.journal import Record
from mixchat.chat.records import to_object
from mixchat.errors import InUse, OutputError
from mixchat.store.appending import Appender
from mixchat.store.atomic import remove_leftovers, write_atomic
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_private
from mixchat.store.session_file import (
    Kept,
    Purpose,
    damaged_path,
    header_of,
    lock_path,
    new_id,
    read_file,
    session_path,
    sessions_folder,
)
from mixchat.store.session_index import find
from mixchat.store.session_lines import line_of
from mixchat.store.session_removal import discard, prune_asked


class Session:
    """A session that is open for writing, by this process alone; the lock is gone with the process.

    Attributes:
        id: Its id, of which files may be named.
        records: What it held when it was opened.
        notices: What a person should know about it, in sentences: what was damaged, why nothing can be appended.
    """

    def __init__(self, places: Places, kept: Kept, lock: ExitStack | None = None) -> None:
        self.id = kept.id
        self.records: tuple[Record, ...] = kept.records
        self.notices = kept.notices
        self._places = places
        self._kept = kept
        self._file = Appender(session_path(places, kept.id))
        self._lock = lock or ExitStack()
        self._is_new = lock is None
        self._closed = False

    def append(self, record: Record, *records: Record, sync: bool = True) -> None:
        """Keep records; when this returns, they outlive a kill, and with `sync` a power cut too.

        The first record makes the file of a new session, and that of `ask` removes old ones. Damaged parts are set
        aside before the first is appended.

        Raises:
            OutputError: They could not be written, and the file is as it was, or the session is read-only. Appending
                again may succeed.
            InUse: Another process has just opened the session.
            ValueError: It is closed.
        """
        if self._closed:
            raise ValueError("closed")
        if self._kept.read_only:
            raise OutputError(
                f"The session {self.id} cannot be gone on with. {self._kept.read_only}", "mixchat chat begins another."
            )
        self._prepare()
        lines = b"".join(line_of(to_object(each)) for each in (record, *records))
        header = header_of(self.id, self._kept.created, self._kept.purpose) if self._is_new else b""
        self._file.append(header + lines, sync=sync)
        is_new, self._is_new = self._is_new, False
        if is_new and self._kept.purpose == "ask":
            prune_asked(self._places)

    def close(self) -> None:
        """Let others write to it; closing twice does no harm."""
        self._closed = True
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _prepare(self) -> None:
        if self._is_new:
            ensure_private(sessions_folder(self._places))
            self._lock.close()
            self._lock = _locked(self._places, self.id)
        elif self._kept.mended is not None:
            _mend(self._places, self._kept, self._kept.mended)
            self._kept = replace(self._kept, mended=None)


class Unsaved:
    """The same for a chat that is not kept: nothing is written anywhere."""

    def __init__(self) -> None:
        self.id = ""
        self.records: tuple[Record, ...] = ()
        self.notices: tuple[str, ...] = ()

    def append(self, record: Record, *records: Record, sync: bool = True) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def create(places: Places, now: datetime, purpose: Purpose = "chat") -> Session:
    """Begin a session; nothing is on disk before its first record.

    Args:
        places: The folders.
        now: The time, with a time zone.
        purpose: What begins it.
    """
    begun = now.astimezone(UTC)
    session = new_id(begun, purpose)
    while os.path.lexists(session_path(places, session)):
        session = new_id(begun, purpose)
    return Session(places, Kept(session, begun, begun, purpose=purpose))


def open_session(places: Places, ref: str) -> Session:
    """Open a session for writing by its id, the beginning of its id, or its name.

    Raises:
        NotFound: There is no such session.
        UsageError: There are several.
        InUse: It is open in another process.
        OutputError: It cannot be read.
    """
    session = find(places, ref)
    lock = _locked(places, session)
    try:
        kept = read_file(places, session)
        remove_leftovers(session_path(places, session))
    except BaseException:
        lock.close()
        raise
    return Session(places, kept, lock)


def remove(places: Places, ref: str) -> None:
    """Remove a session, what was set aside of it, and its snapshot.

    Raises:
        NotFound: There is no such session.
        UsageError: There are several.
        InUse: It is open in another process.
        OutputError: It cannot be removed.
    """
    session = find(places, ref)
    with _locked(places, session):
        discard(places, session)


def _locked(places: Places, session: str) -> ExitStack:
    stack = ExitStack()
    try:
        stack.enter_context(hold(lock_path(places, session), timeout=0))
    except InUse as exc:
        raise InUse(
            f"The session {session} is open in another terminal.", "Leave it there first, or begin another one."
        ) from exc
    return stack


def _mend(places: Places, kept: Kept, content: bytes) -> None:
    """Set aside what cannot be read, and only then leave it out."""
    if kept.damage:
        parts = [b"%d bytes at %d:\n%s\n" % (len(each.raw), each.offset, each.raw) for each in kept.damage]
        aside = Appender(damaged_path(places, kept.id))
        try:
            aside.append(b"".join(parts))
        finally:
            aside.close()
    write_atomic(session_path(places, kept.id), content)
