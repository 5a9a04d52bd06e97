"""Where the KV states of chats lie, and how much disk they may take.

Knows their files and the budget; refuses to know what is in them. A snapshot can always be made again, so whatever
cannot be read or removed here is passed over.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mixchat.errors import InUse, OutputError
from mixchat.store.atomic import unlink
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_private
from mixchat.store.session_file import is_id, lock_path

_SUFFIX: Final = ".kv"
_TEMPORARY: Final = re.compile(r"\.(.+)\.kv\..*tmp")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a budget left.

    Attributes:
        removed: Sessions whose snapshots went, the least recently used first.
        nbytes: Bytes of the snapshots that are left.
        kept: Whether the snapshot that was to stay did.
    """

    removed: tuple[str, ...]
    nbytes: int
    kept: bool


@dataclass(frozen=True, slots=True)
class KeptSnapshot:
    """A session's snapshot.

    Attributes:
        session: The session's id.
        path: The file.
        nbytes: Its bytes.
        used: When it was written or used last, in nanoseconds since 1970.
    """

    session: str
    path: Path
    nbytes: int
    used: int


def snapshot_path(places: Places, session_id: str, *, make_folder: bool = False) -> Path:
    """The file of a session's KV state, there or not; its temporary files are `.NAME.*tmp` beside it.

    Args:
        places: The folders.
        session_id: An id, never a name.
        make_folder: Make the folder (0700), so that the file can be written.

    Raises:
        ValueError: It is no id.
        OutputError: The folder cannot be made.
    """
    if not is_id(session_id):
        raise ValueError(session_id)
    folder = _folder(places)
    return (ensure_private(folder) if make_folder else folder) / (session_id + _SUFFIX)


def mark_used(places: Places, session_id: str) -> None:
    """Count a session's snapshot as used now; without one nothing happens."""
    with suppress(OSError):
        os.utime(snapshot_path(places, session_id))


def total(places: Places) -> int:
    """Bytes of all snapshots."""
    return sum(each.nbytes for each in _snapshots(places))


def prune(places: Places, budget: int, keep: str) -> Pruned:
    """Remove snapshots until they fit the budget, and what killed writers left.

    The one of `keep` goes first if it exceeds the budget by itself, otherwise last; of the others the least recently
    used goes first.

    Args:
        places: The folders.
        budget: Bytes.
        keep: The session whose snapshot was just written, by this process.
    """
    _remove_leftovers(places, keep)
    found = sorted(_snapshots(places), key=lambda each: (_turn_to_go(each, keep, budget), each.used, each.session))
    left = sum(each.nbytes for each in found)
    removed: list[str] = []
    for each in found:
        if left > budget and unlink(each.path):
            left -= each.nbytes
            removed.append(each.session)
    return Pruned(tuple(removed), left, snapshot_path(places, keep).exists())


def remove_snapshot(places: Places, session_id: str) -> None:
    """Remove a session's snapshot and what killed writers of it left; hold the session's lock.

    Raises:
        OutputError: It is there and cannot be removed.
    """
    path = snapshot_path(places, session_id)
    for each in (path, *path.parent.glob(f".{path.name}.*tmp")):
        if not unlink(each):
            raise OutputError(f"{each} cannot be removed.", "Check the permissions of its folder.")


def list_snapshots(places: Places) -> tuple[KeptSnapshot, ...]:
    """All snapshots, the one that was used last first."""
    return tuple(sorted(_snapshots(places), key=lambda each: (-each.used, each.session)))


def clear_snapshots(places: Places) -> tuple[KeptSnapshot, ...]:
    """Remove the snapshots of all sessions that are not open, and what killed writers left; returns those that went.

    Raises:
        OutputError: One cannot be removed.
    """
    removed = []
    for each in list_snapshots(places):
        if _is_closed(places, each.session):
            remove_snapshot(places, each.session)
            removed.append(each)
    _remove_leftovers(places, "")
    return tuple(removed)


def _folder(places: Places) -> Path:
    return places.cache / "kv"


def _turn_to_go(snapshot: KeptSnapshot, keep: str, budget: int) -> int:
    if snapshot.session != keep:
        return 1
    return 0 if snapshot.nbytes > budget else 2


def _snapshots(places: Places) -> Iterator[KeptSnapshot]:
    for entry in _entries(places):
        session = entry.name.removesuffix(_SUFFIX)
        with suppress(OSError):
            if entry.name.endswith(_SUFFIX) and is_id(session) and entry.is_file(follow_symlinks=False):
                about = entry.stat(follow_symlinks=False)
                yield KeptSnapshot(session, Path(entry.path), about.st_size, about.st_mtime_ns)


def _remove_leftovers(places: Places, keep: str) -> None:
    """Remove temporary files that nobody writes: whoever does so holds the session's lock."""
    for entry in _entries(places):
        named = _TEMPORARY.fullmatch(entry.name)
        if named and is_id(named[1]) and (named[1] == keep or _is_closed(places, named[1])):
            unlink(Path(entry.path))


def _entries(places: Places) -> Iterator["os.DirEntry[str]"]:
    with suppress(OSError), os.scandir(_folder(places)) as entries:
        yield from entries


def _is_closed(places: Places, session: str) -> bool:
    lock = lock_path(places, session)
    if not lock.exists():
        return True
    try:
        with hold(lock, timeout=0):
            return True
    except (InUse, OutputError):
        return False
