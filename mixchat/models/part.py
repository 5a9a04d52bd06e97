"""A file that is not complete yet: `<name>.part`, and `<name>.part.json` which says what it is a part of.

Knows how both lie on the disk so that a kill at any moment costs nothing that was written: bytes are appended without a
buffer of our own, so the part's length is the state. Refuses to know where the bytes come from. What lies at these
names and is no plain file of ours, a planted link for one, is removed and never followed.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mixchat.errors import OutputError
from mixchat.models.remote import RemoteFile
from mixchat.store.atomic import remove_leftovers, sync_folder, write_atomic

PART = ".part"
STATE = ".part.json"
_CHUNK = 4 << 20
_STATE_LIMIT = 16 << 10
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class State:
    """What a part is a part of.

    Attributes:
        commit: Of the repository.
        sha256: Of the whole file; None when nobody said.
        size: Of the whole file in bytes.
        tag: The server's name for the content; empty before its first answer.
    """

    commit: str
    sha256: str | None
    size: int
    tag: str = ""

    def agrees(self, file: RemoteFile) -> bool:
        """Whether the part's bytes are the file's; the same hash is the same content, whatever the commit."""
        same = self.sha256 == file.sha256 if file.sha256 else self.sha256 is None and self.commit == file.commit
        return same and self.size == file.size


class Part:
    """A part, open for writing, and the hash of its bytes.

    Its methods raise OutputError when the disk fails; what was written before stays.

    Attributes:
        done: Bytes of it.
        tag: See `State`.
    """

    def __init__(self, target: Path, file: RemoteFile, descriptor: int) -> None:
        self._target = target
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self._state = _read_state(target) or State("", None, -1)
        self.done = 0
        if not self._state.agrees(file):
            self._state = State(file.commit, file.sha256, file.size)
            self.restart()

    @property
    def path(self) -> Path:
        """Where it lies."""
        return part_path(self._target)

    @property
    def tag(self) -> str:
        """The server's name for the content that it is a part of."""
        return self._state.tag

    def rehash(self) -> Iterator[int]:
        """Hash what lies there, yielding the bytes hashed so far; do it first."""
        with _disk(self.path):
            size = os.fstat(self._descriptor).st_size
            if size > self._state.size:
                os.ftruncate(self._descriptor, 0)
            while data := os.pread(self._descriptor, _CHUNK, self.done):
                self._hash.update(data)
                self.done += len(data)
                yield self.done

    def restart(self, tag: str = "") -> None:
        """Begin at byte 0, with content of that tag."""
        with _disk(self.path):
            os.ftruncate(self._descriptor, 0)
        self._hash, self.done = hashlib.sha256(), 0
        self.name(tag)

    def name(self, tag: str) -> None:
        """Note the server's name for the content."""
        self._state = replace(self._state, tag=tag)
        write_atomic(_state_path(self._target), json.dumps(asdict(self._state)).encode(), mode=0o644)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        rest = memoryview(data)
        while rest:
            try:
                count = os.write(self._descriptor, rest)
            except OSError as exc:
                raise _failed(self.path, exc) from exc
            self._hash.update(rest[:count])
            self.done += count
            rest = rest[count:]

    def hexdigest(self) -> str:
        """The sha256 of its bytes."""
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Make it the file: on the disk for certain, and only then under its name."""
        with _disk(self._target):
            os.fchmod(self._descriptor, 0o644)
            os.fsync(self._descriptor)
            self.path.replace(self._target)
            sync_folder(self._target.parent)
        forget(self._target)


@contextmanager
def open_part(target: Path, file: RemoteFile) -> Iterator[Part]:
    """Open the part of `target`, new or as it was left; it stays when the block ends, however that happens.

    Raises:
        OutputError: It cannot be opened.
    """
    with _disk(target):
        remove_leftovers(_state_path(target))
        for path in (part_path(target), _state_path(target)):
            _remove_foreign(path)
        descriptor = os.open(part_path(target), _FLAGS, 0o600)
    try:
        yield Part(target, file, descriptor)
    finally:
        os.close(descriptor)


def part_bytes(target: Path, file: RemoteFile) -> int:
    """Bytes of `file` that lie in the part of `target` and need not be sent again."""
    state = _read_state(target)
    try:
        size = part_path(target).lstat().st_size
    except OSError:
        return 0
    return size if state is not None and state.agrees(file) and size <= file.size else 0


def forget(target: Path) -> None:
    """Remove the part of `target` and what belongs to it."""
    remove_leftovers(_state_path(target))
    for path in (part_path(target), _state_path(target)):
        with suppress(OSError):
            path.unlink()


def part_path(target: Path) -> Path:
    """Where the part of `target` lies."""
    return target.with_name(target.name + PART)


def _state_path(target: Path) -> Path:
    return target.with_name(target.name + STATE)


def _read_state(target: Path) -> State | None:
    try:
        with _state_path(target).open("rb") as file:
            content: object = json.loads(file.read(_STATE_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    match content:
        case {"commit": str(commit), "sha256": str() | None as sha256, "size": int(size), "tag": str(tag)}:
            return State(commit, sha256, size, tag)
        case _:
            return None


def _remove_foreign(path: Path) -> None:
    """Remove what is no plain file, or has a second name somewhere."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            path.unlink()


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise _failed(path, exc) from exc


def _failed(path: Path, exc: OSError) -> OutputError:
    return OutputError(
        f"{path} could not be written: {exc.strerror or exc}.",
        "Free some space or check the permissions of its folder; the same command then goes on where it stopped.",
    )
