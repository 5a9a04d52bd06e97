"""Sessions: chats that are kept while they happen.

Knows when something of a session is safe on disk, who may write to it and what goes with it when it is removed;
refuses to know what a chat does. A session is a file of lines that only grows; see session_lines.py for the lines and
session_file.py for what is read of a damaged one.
"""

import secrets
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Self

from mixchat.chat.journal import Record
from mixchat.chat.records import to_object
from mixchat.errors import InUse, OutputError
from mixchat.store.appending import Appender
from mixchat.store.atomic import remove_leftovers, sync_folder, write_atomic
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_private
from mixchat.store.session_file import (
    Kept,
    damaged_path,
    header_of,
    lock_path,
    read_file,
    session_ids,
    session_path,
    sessions_folder,
)
from mixchat.store.session_index import find
from mixchat.store.session_lines import line_of
from mixchat.store.snapshots import remove_snapshot

_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_RANDOM: Final = 4


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

        The first record makes the file of a new session. Damaged parts are set aside before the first is appended.

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
        header = header_of(self.id, self._kept.created) if self._is_new else b""
        self._file.append(header + lines, sync=sync)
        self._is_new = False

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


def create(places: Places, now: datetime) -> Session:
    """Begin a session; nothing is on disk before its first record.

    Args:
        places: The folders.
        now: The time, with a time zone.
    """
    begun = now.astimezone(UTC)
    session = _new_id(begun)
    taken = session_ids(places)
    while session in taken:
        session = _new_id(begun)
    return Session(places, Kept(session, begun, begun))


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
        remove_snapshot(places, session)
        path = session_path(places, session)
        remove_leftovers(path)
        try:
            for each in (damaged_path(places, session), path, lock_path(places, session)):
                each.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as exc:
            raise OutputError(
                f"The session {session} cannot be removed: {exc.strerror or exc}.",
                "Check the permissions of its folder.",
            ) from exc


def _new_id(begun: datetime) -> str:
    return f"{begun:%Y%m%d-%H%M}-{''.join(secrets.choice(_LETTERS) for _ in range(_RANDOM))}"


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
