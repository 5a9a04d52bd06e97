"""Where the KV states of prompts' beginnings lie, which of them serves a prompt, and how much disk they may take.

Knows their files, their tokens and the budget; refuses to know what is in a state and when one is worth keeping. A
state can always be made again, so whatever is damaged or cannot be read is passed over.

An entry is two files: `NAME.kv`, the state, and, written behind it, `NAME.tokens`, the tokens that it is of (uint32,
little-endian). NAME is a hash of what the state depends on and one of that and the tokens: damaged tokens are noticed,
and there is no index that could be wrong. Whoever writes or clears up an entry holds its lock, `XX.lock`; XX are the
last two letters of its name. Locks stay: removing a lock that somebody may have opened just now makes it two locks.
"""

import hashlib
import os
import re
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mixchat.errors import InUse, OutputError
from mixchat.store.atomic import unlink, write_atomic
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_private

_STATE: Final = ".kv"
_TOKENS: Final = ".tokens"
_LOCK_LETTERS: Final = 2
_FILE: Final = re.compile(r"\.?([0-9a-f]{16}-[0-9a-f]{32})(\.(?:kv|tokens)(?:\..*tmp)?)")
_TOKEN: Final = 4
_MOST_TOKENS: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Entry:
    """A kept beginning.

    Attributes:
        name: Of its files.
        tokens: How many it is of.
        nbytes: Bytes of its files.
        used: When it was kept or served last, in nanoseconds since 1970.
    """

    name: str
    tokens: int
    nbytes: int
    used: int


@dataclass(frozen=True, slots=True)
class Match:
    """A kept state of which the first `shared` tokens are those of a prompt.

    Attributes:
        name: Of its files.
        path: The state.
        tokens: How many it is of.
        shared: How many of them are the prompt's, too.
    """

    name: str
    path: Path
    tokens: int
    shared: int


@dataclass(frozen=True, slots=True)
class Removed:
    """How many entries went, and their bytes."""

    count: int
    nbytes: int


def matches(places: Places, conditions: str, tokens: Sequence[int]) -> tuple[Match, ...]:
    """The states that share a prompt's first tokens: those that share the most first, and the shortest of these.

    Args:
        places: The folders.
        conditions: What a state depends on besides its tokens.
        tokens: Of the prompt.
    """
    wanted, group = _bytes(tokens), _group(conditions)
    found = [
        Match(entry.name, _file(places, entry.name, _STATE), entry.tokens, _shared(wanted, kept))
        for entry in entries(places)
        if entry.name.startswith(group) and (kept := _kept(places, conditions, entry.name))
    ]
    return tuple(sorted((each for each in found if each.shared), key=lambda each: (-each.shared, each.tokens)))


@contextmanager
def writing(places: Places, conditions: str, tokens: Sequence[int]) -> Iterator[Match | None]:
    """Make room for a state: the block writes it to the match's path, and when the block ends well it is an entry.

    None when there is one already, or when another process is writing it just now.

    Raises:
        OutputError: Nothing can be written there.
    """
    content = _bytes(tokens)
    name = _name(conditions, content)
    path, index = _file(places, name, _STATE), _file(places, name, _TOKENS)
    ensure_private(path.parent)
    with _held(places, name) as held:
        if not held or (path.exists() and index.exists()):
            yield None
            return
        yield Match(name, path, len(tokens), len(tokens))
        if path.exists():
            write_atomic(index, content)


def mark_used(places: Places, name: str) -> None:
    """Count an entry as used now; without one nothing happens."""
    with suppress(OSError):
        os.utime(_file(places, name, _STATE))


def entries(places: Places) -> tuple[Entry, ...]:
    """All entries, the one that was used last first."""
    files = _files(places)
    found = [
        Entry(name, about[_TOKENS].st_size // _TOKEN, sum(each.st_size for each in about.values()), used)
        for name, about in files.items()
        if _STATE in about and _TOKENS in about and (used := about[_STATE].st_mtime_ns)
    ]
    return tuple(sorted(found, key=lambda each: (-each.used, each.name)))


def prune(places: Places, budget: int, keep: str = "") -> Removed:
    """Remove entries until they fit the budget, the least recently used first, and what killed writers left.

    Args:
        places: The folders.
        budget: Bytes.
        keep: An entry that goes last.
    """
    _clear_up(places)
    found = sorted(entries(places), key=lambda each: (each.name == keep, each.used, each.name))
    left = sum(each.nbytes for each in found)
    count = nbytes = 0
    for each in found:
        if left - nbytes > budget and _remove(places, each.name):
            count, nbytes = count + 1, nbytes + each.nbytes
    return Removed(count, nbytes)


def remove(places: Places, name: str) -> None:
    """Remove an entry; one that cannot be removed stays."""
    _remove(places, name)


def clear(places: Places) -> Removed:
    """Remove all entries; what another process is writing just now stays.

    Raises:
        OutputError: Some cannot be removed.
    """
    removed = prune(places, -1)
    if left := entries(places):
        raise OutputError(
            f"{_file(places, left[0].name, _STATE)} cannot be removed.", "Check the permissions of its folder."
        )
    return removed


def _folder(places: Places) -> Path:
    return places.cache / "prompts"


def _file(places: Places, name: str, suffix: str) -> Path:
    return _folder(places) / (name + suffix)


def _bytes(tokens: Sequence[int]) -> bytes:
    ids = array("I", tokens)
    if sys.byteorder == "big":  # pragma: no cover - no such machine
        ids.byteswap()
    return ids.tobytes()


def _group(conditions: str) -> str:
    return hashlib.sha256(conditions.encode()).hexdigest()[:16]


def _name(conditions: str, tokens: bytes) -> str:
    own = hashlib.sha256(conditions.encode() + b"\0" + tokens).hexdigest()[:32]
    return f"{_group(conditions)}-{own}"


def _kept(places: Places, conditions: str, name: str) -> bytes:
    """The tokens of an entry, when they are those that it is named after; empty otherwise."""
    try:
        with _file(places, name, _TOKENS).open("rb") as file:
            content = file.read(_TOKEN * _MOST_TOKENS)
    except OSError:
        return b""
    return content if _name(conditions, content) == name else b""


def _shared(one: bytes, other: bytes) -> int:
    """Tokens that both begin with, found by halving: comparing bytes is quick, walking through them is not."""
    low, high = 0, min(len(one), len(other)) // _TOKEN
    while low < high:
        middle = (low + high + 1) // 2
        if one[low * _TOKEN : middle * _TOKEN] == other[low * _TOKEN : middle * _TOKEN]:
            low = middle
        else:
            high = middle - 1
    return low


def _files(places: Places) -> dict[str, dict[str, os.stat_result]]:
    """What lies there, by name and by what comes behind it; nothing but regular files of ours."""
    found: dict[str, dict[str, os.stat_result]] = {}
    with suppress(OSError), os.scandir(_folder(places)) as listed:
        for each in listed:
            named = _FILE.fullmatch(each.name)
            with suppress(OSError):
                if named and each.is_file(follow_symlinks=False):
                    found.setdefault(named[1], {})[named[2]] = each.stat(follow_symlinks=False)
    return found


def _clear_up(places: Places) -> None:
    """Remove halves of entries and temporary files that nobody writes."""
    for name, about in _files(places).items():
        if about.keys() != {_STATE, _TOKENS}:
            with suppress(OutputError), _held(places, name) as held:
                if held:
                    _remove_rest(places, name)


def _remove_rest(places: Places, name: str) -> None:
    """Remove what is no whole entry; its lock is held."""
    there = _files(places).get(name, {}).keys()
    whole = {_STATE, _TOKENS}
    for suffix in there - whole if there >= whole else there:
        unlink(_folder(places) / (("." if suffix.endswith("tmp") else "") + name + suffix))


def _remove(places: Places, name: str) -> bool:
    """Remove an entry, its tokens first: without them it is none; whether it is gone."""
    return unlink(_file(places, name, _TOKENS)) and unlink(_file(places, name, _STATE))


@contextmanager
def _held(places: Places, name: str) -> Iterator[bool]:
    """Hold an entry's lock for the block, if nobody else does.

    Raises:
        OutputError: The lock file cannot be made.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(_folder(places) / f"{name[-_LOCK_LETTERS:]}.lock", timeout=0))
        except InUse:
            yield False
            return
        yield True
