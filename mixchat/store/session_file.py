"""One session as it lies on disk, whole, damaged or written by a newer mixchat.

Knows a session's files and what can be read of them; refuses to know who wants it and which session it is. Reading
changes nothing.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from mixchat.chat.journal import Dialogue, Record, apply
from mixchat.chat.records import VERSION, from_object, missing_before, to_object
from mixchat.errors import NotFound, OutputError
from mixchat.store.moments import parse_moment
from mixchat.store.places import Places
from mixchat.store.session_lines import Damage, Line, line_of, scan

Purpose = Literal["chat", "ask"]
"""What began a session; `-c` of either goes on with its own."""

MOST_BYTES: Final = 256 << 20
"""Of a session that is read; of a larger one only the beginning is, and it cannot be gone on with."""

_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_RANDOM: Final[dict[Purpose, int]] = {"chat": 4, "ask": 5}
"""So many letters are behind the moment, so that a list of names tells which sessions may be old ones of `ask`; what
began a session is what its first line says."""

_ID: Final = re.compile(r"\d{8}-\d{4}-[a-z0-9]{4,5}")
_SUFFIX: Final = ".jsonl"
_ASKED_LENGTH: Final = len("20261122-0455-") + _RANDOM["ask"] + len(_SUFFIX)
_LONGEST_HEADER: Final = 4096
_TOO_LARGE: Final = "It is larger than 256 MiB: only its beginning is read, and it cannot be gone on with."
_NEWER: Final = "A newer mixchat wrote it: what is known here is read, and it cannot be gone on with."


@dataclass(frozen=True, slots=True)
class Kept:
    """A session's file, read.

    Attributes:
        id: The session.
        created: When it began.
        changed: When the file was written last.
        nbytes: The file's length.
        records: What could be read; `LOST` turns stand where damaged ones must have been.
        damage: What could not be read.
        read_only: Why nothing may be appended, in a sentence; empty when it may.
        mended: What the file must hold before something is appended; None when it does.
        purpose: What began it.
    """

    id: str
    created: datetime
    changed: datetime
    nbytes: int = 0
    records: tuple[Record, ...] = ()
    damage: tuple[Damage, ...] = ()
    read_only: str = ""
    mended: bytes | None = None
    purpose: Purpose = "chat"

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know before reading it, in sentences."""
        lost = sum(len(each.raw) for each in self.damage)
        damaged = f"The session {self.id} was damaged: {lost} bytes of it cannot be read." if self.damage else ""
        return tuple(text for text in (damaged, self.read_only) if text)


def sessions_folder(places: Places) -> Path:
    """Where the sessions lie."""
    return places.data / "sessions"


def session_path(places: Places, session: str) -> Path:
    """A session's file; `session` is an id, never a name.

    Raises:
        ValueError: It is no id.
    """
    if not is_id(session):
        raise ValueError(session)
    return sessions_folder(places) / (session + _SUFFIX)


def lock_path(places: Places, session: str) -> Path:
    """The lock that whoever writes to a session holds."""
    return session_path(places, session).with_name(f".{session}.lock")


def damaged_path(places: Places, session: str) -> Path:
    """Where damaged parts are set aside."""
    return session_path(places, session).with_name(f"{session}.damaged")


def new_id(begun: datetime, purpose: Purpose) -> str:
    """An id for a session; another session may have it already.

    Args:
        begun: When it begins, in UTC.
        purpose: What begins it.
    """
    return f"{begun:%Y%m%d-%H%M}-{''.join(secrets.choice(_LETTERS) for _ in range(_RANDOM[purpose]))}"


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.fullmatch(text) is not None


def session_ids(places: Places) -> tuple[str, ...]:
    """All sessions, the one that began first at the front."""
    found = (name.removesuffix(_SUFFIX) for name in _names(places) if name.endswith(_SUFFIX))
    return tuple(sorted(each for each in found if is_id(each)))


def asked_ids(places: Places) -> tuple[str, ...]:
    """The sessions that `ask` may have begun, by their names alone; `purpose_of` says whether it did."""
    found = (name.removesuffix(_SUFFIX) for name in _names(places) if len(name) == _ASKED_LENGTH)
    return tuple(each for each in found if is_id(each))


def _names(places: Places) -> list[str]:
    try:
        return os.listdir(sessions_folder(places))  # noqa: PTH208 - no Path for each of a thousand
    except OSError:
        return []


def header_of(session: str, created: datetime, purpose: Purpose = "chat") -> bytes:
    """A session's first line."""
    moment = created.isoformat(timespec="seconds")
    begun_by = {} if purpose == "chat" else {"for": purpose}
    return line_of({"v": VERSION, "kind": "session", "id": session, "created": moment, **begun_by})


def purpose_of(places: Places, session: str) -> Purpose:
    """What began a session, by its first line alone; a chat where that cannot be read."""
    try:
        with session_path(places, session).open("rb") as file:
            header = next(iter(scan(file.readline(_LONGEST_HEADER))), None)
    except OSError:
        return "chat"
    return _purpose(header.item) if isinstance(header, Line) else "chat"


def read_file(places: Places, session: str) -> Kept:
    """Read a session.

    Raises:
        NotFound: It is not there.
        OutputError: It cannot be read.
    """
    path = session_path(places, session)
    try:
        data, about = _bytes_of(path)
    except FileNotFoundError as exc:
        raise NotFound(f"There is no session {session}.", "mixchat sessions list shows them.") from exc
    except OSError as exc:
        raise OutputError(f"{path} cannot be read: {exc.strerror or exc}.", "Check its permissions.") from exc
    changed = datetime.fromtimestamp(about.st_mtime, UTC)
    kept = _understood(Kept(session, _begun(session, changed), changed, about.st_size), data)
    return replace(kept, read_only=_TOO_LARGE, mended=None) if about.st_size > MOST_BYTES else kept


def _bytes_of(path: Path) -> tuple[bytes, os.stat_result]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError("it is no file")
        return file.read(MOST_BYTES), about


def _begun(session: str, otherwise: datetime) -> datetime:
    """The moment in an id, which counts where the header is damaged."""
    try:
        return datetime.strptime(session[: len("20261122-0455")], "%Y%m%d-%H%M").replace(tzinfo=UTC)
    except ValueError:
        return otherwise


def _purpose(header: object) -> Purpose:
    match header:
        case {"kind": "session", "for": "ask"}:
            return "ask"
    return "chat"


class _Content:
    """What the parts of a file come to; None in `lines` is a place where something was damaged."""

    def __init__(self, parts: Iterable[Line | Damage]) -> None:
        self.lines: list[tuple[bytes, Record | None] | None] = []
        self.damage: list[Damage] = []
        self.created: datetime | None = None
        self.newer = False
        self.purpose: Purpose = "chat"
        for part in parts:
            if isinstance(part, Damage) or not self._known(part):
                self.damage.append(Damage(part.offset, part.raw))
                self.lines.append(None)

    def _known(self, line: Line) -> bool:
        """Take a line that says something."""
        match line.item:
            case {"kind": "session", "v": int(version), "created": str(created)}:
                self.created = self.created or parse_moment(created)
                self.purpose = _purpose(line.item)
                self.newer = self.newer or version > VERSION
                self.lines.append((line.raw, None))
                return True
        reading = from_object(line.item)
        if reading.record is None and not reading.newer:
            return False
        self.newer = self.newer or reading.newer
        self.lines.append((line.raw, reading.record))
        return True


def _understood(kept: Kept, data: bytes) -> Kept:
    content = _Content(scan(data))
    lines = list(_bridged(content.lines) if content.damage else filter(None, content.lines))
    if content.created is None:
        lines.insert(0, (header_of(kept.id, kept.created).rstrip(b"\n"), None))
    mended = b"".join(line + b"\n" for line, _record in lines)
    return replace(
        kept,
        created=content.created or kept.created,
        records=tuple(record for _line, record in lines if record is not None),
        damage=tuple(content.damage),
        read_only=_NEWER if content.newer else "",
        purpose=content.purpose,
        mended=None if content.newer or mended == data else mended,
    )


def _bridged(lines: Iterable[tuple[bytes, Record | None] | None]) -> Iterator[tuple[bytes, Record | None]]:
    """The lines, and behind damage the turns that must have been there: later records count them."""
    dialogue, damaged = Dialogue(), False
    for line in lines:
        if line is None:
            damaged = True
            continue
        raw, record = line
        if record is not None:
            for lost in missing_before(record, dialogue) if damaged else ():
                dialogue = apply(dialogue, lost)
                yield line_of(to_object(lost)).rstrip(b"\n"), lost
            dialogue = apply(dialogue, record)
        yield raw, record
