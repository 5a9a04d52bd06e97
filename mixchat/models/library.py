"""The models on this machine.

Knows the store's layout, `<models>/<name>/` with a model file and `model.json`; refuses to know how a model gets there
and who means which. Only a folder with `model.json`, which is written last, holds a model.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from mixchat.models.reference import is_file_name
from mixchat.store.atomic import write_atomic
from mixchat.store.places import Places

RECORD = "model.json"
USED = ".last-used"
"""An empty file whose time is the model's last use."""
_RECORD_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of a model: its name, size and hash."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """What `model.json` says.

    Attributes:
        name: Of the model's folder.
        file: The model file; of shards the first.
        bytes: Of that file.
        sha256: Of that file.
        source: Where it came from, in words.
        added: When, as ISO 8601 in UTC.
        others: The further shards.
        folder: Where the files lie when they were left in place, absolute; None: in the model's folder.
    """

    name: str
    file: str
    bytes: int
    sha256: str
    source: str
    added: str
    others: tuple[Piece, ...] = ()
    folder: str | None = None

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All its files, in their order."""
        return (Piece(self.file, self.bytes, self.sha256), *self.others)

    @property
    def total(self) -> int:
        """Bytes of all its files."""
        return sum(piece.bytes for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Installed:
    """A model in the store: its record and where its file is."""

    record: Record
    path: Path


def installed(places: Places) -> tuple[Installed, ...]:
    """The models in the store by name; folders without a sound `model.json` or without its file are none."""
    return tuple(model for folder in _folders(places.models) if (model := _read(folder)) is not None)


def can_store(file: str) -> bool:
    """Whether a file in the store may have this name."""
    return _is_stored(file)


def mark_used(places: Places, path: Path) -> None:
    """Note that a model file is used now; does nothing for files outside the store, or where that cannot be written."""
    for model in installed(places):
        if model.path == path:
            with suppress(OSError):
                (places.models / model.record.name / USED).touch(mode=0o644)


def last_used(places: Places, model: Installed) -> str | None:
    """When a model was opened last, as ISO 8601 in UTC; None: never."""
    try:
        seconds = (places.models / model.record.name / USED).stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def write_record(places: Places, record: Record) -> None:
    """Declare a model installed; its file is there already.

    Raises:
        OutputError: It could not be written.
    """
    content = json.dumps(asdict(record), indent=1) + "\n"
    write_atomic(places.models / record.name / RECORD, content.encode(), mode=0o644)


def _folders(models: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder for folder in models.iterdir() if folder.is_dir())
    except OSError:
        return


def _read(folder: Path) -> Installed | None:
    try:
        with (folder / RECORD).open("rb") as file:
            content: object = json.loads(file.read(_RECORD_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    record = _record(content)
    if record is None or record.name != folder.name:
        return None
    paths = [Path(record.folder or folder) / piece.file for piece in record.pieces]
    return Installed(record, paths[0]) if all(path.is_file() for path in paths) else None


def _record(content: object) -> Record | None:
    match content:
        case {
            "name": str(name),
            "file": str(file),
            "bytes": int(size),
            "sha256": str(sha256),
            "source": str(source),
            "added": str(added),
            **more,
        }:
            others, folder = _others(more.get("others")), more.get("folder")
            if others is None or not (folder is None or (isinstance(folder, str) and Path(folder).is_absolute())):
                return None
            record = Record(name, file, size, sha256, source, added, others, folder)
            sound = _is_stored if folder is None else _is_plain
            return record if all(sound(piece.file) for piece in record.pieces) else None
        case _:
            return None


def _others(content: object) -> tuple[Piece, ...] | None:
    """The further shards; None when that is not what it says."""
    pieces: list[Piece] = []
    for item in content if isinstance(content, list) else ():
        match item:
            case {"file": str(file), "bytes": int(size), "sha256": str(sha256)}:
                pieces.append(Piece(file, size, sha256))
            case _:
                return None
    return tuple(pieces)


def _is_plain(name: str) -> bool:
    """Whether it is the name of a file, and no way to another folder."""
    return name not in {"", ".", ".."} and Path(name).name == name


def _is_stored(name: str) -> bool:
    """Whether it is a name that mixchat gives a file."""
    return is_file_name(name) and _is_plain(name)
