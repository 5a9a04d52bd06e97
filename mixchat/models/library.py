"""The models on this machine.

Knows the store's layout, `<models>/<name>/` with a model file and `model.json`, and which file a reference means;
refuses to know how a model gets there. Only a folder with `model.json`, which is written last, holds a model.
"""

import json
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import assert_never

from mixchat.errors import NotFound, UsageError
from mixchat.models.header_file import unreadable
from mixchat.models.reference import Alias, HubFile, HubQuant, LocalPath, Reference
from mixchat.models.registry import Entry, Registry
from mixchat.store.atomic import write_atomic
from mixchat.store.places import Places

RECORD = "model.json"
_RECORD_LIMIT = 64 << 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOW = "Give the path of a .gguf file, or try: mixchat chat demo"


@dataclass(frozen=True, slots=True)
class Record:
    """What `model.json` says.

    Attributes:
        name: Of the model's folder.
        file: The model file in it.
        bytes: Of the file.
        sha256: Of the file.
        source: Where it came from, in words.
        added: When, as ISO 8601 in UTC.
    """

    name: str
    file: str
    bytes: int
    sha256: str
    source: str
    added: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A model in the store: its record and where its file is."""

    record: Record
    path: Path


@dataclass(frozen=True, slots=True)
class Found:
    """The file that a reference means.

    Attributes:
        entry: What the registry knows about it, if it does.
        name: What to call the model.
    """

    path: Path
    entry: Entry | None
    name: str


def installed(places: Places) -> tuple[Installed, ...]:
    """The models in the store by name; folders without a sound `model.json` or without its file are none."""
    return tuple(model for folder in _folders(places.models) if (model := _read(folder)) is not None)


def write_record(places: Places, record: Record) -> None:
    """Declare a model installed; its file is there already.

    Raises:
        OutputError: It could not be written.
    """
    content = json.dumps(asdict(record), indent=1) + "\n"
    write_atomic(places.models / record.name / RECORD, content.encode(), mode=0o644)


def find(places: Places, registry: Registry, reference: Reference) -> Found:
    """Find the file that a reference means.

    Raises:
        NotFound: It is not on this machine; of a known model the message says so.
        UsageError: A folder was given.
    """
    match reference:
        case LocalPath(path):
            return _local(registry, path)
        case Alias():
            return _by_alias(places, registry, reference)
        case HubFile(repo, file):
            raise NotFound(f"hf:{repo}/{file} is not on this machine.", _NOW)
        case HubQuant(repo, quantization):
            raise NotFound(f"hf:{repo}:{quantization} is not on this machine.", _NOW)
        case _:
            assert_never(reference)


def to_be_made(places: Places, registry: Registry, reference: Reference) -> Entry | None:
    """The model to make before `find` can find it: one that comes with a Python package and is not in the store."""
    if not isinstance(reference, Alias) or reference.quantization is not None:
        return None
    entry = registry.get(reference.name)
    there = any(model.record.name == reference.name for model in installed(places))
    return entry if entry is not None and entry.package is not None and not there else None


def _local(registry: Registry, path: Path) -> Found:
    try:
        path = path.expanduser()
        mode = path.stat().st_mode
    except (OSError, RuntimeError, ValueError) as exc:
        raise unreadable(path, exc) from exc
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a folder.", "Give the path of a .gguf file in it.")
    return Found(path, registry.by_file(path.name), path.stem)


def _by_alias(places: Places, registry: Registry, alias: Alias) -> Found:
    """The model of that name in the store, else a file that the registry lists under it."""
    entry = registry.get(alias.name)
    models = installed(places)
    for model in models:
        if model.record.name == alias.name and alias.quantization is None:
            return Found(model.path, entry, alias.name)
    for known in entry.files if entry else ():
        for model in models:
            if model.path.name == known.file and alias.quantization in {None, known.quantization.upper()}:
                return Found(model.path, entry, f"{alias.name}:{known.quantization}")
    raise _missing(registry, entry, alias)


def _missing(registry: Registry, entry: Entry | None, alias: Alias) -> NotFound:
    name = alias.name if alias.quantization is None else f"{alias.name}:{alias.quantization}"
    if entry is None:
        near = registry.nearest(alias.name)
        hint = f"Did you mean {near}?" if near else f"Known are {', '.join(registry.entries)}. {_NOW}"
        return NotFound(f"There is no model {name}.", hint)
    if entry.package is not None:
        return NotFound(f"{name} is not made yet.", f"Run: mixchat chat {alias.name}")
    return NotFound(f"{name} ({entry.title}) is not on this machine.", _NOW)


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
    if record is None or record.name != folder.name or not (folder / record.file).is_file():
        return None
    return Installed(record, folder / record.file)


def _record(content: object) -> Record | None:
    match content:
        case {
            "name": str(name),
            "file": str(file),
            "bytes": int(size),
            "sha256": str(sha256),
            "source": str(source),
            "added": str(added),
        } if _NAME.fullmatch(file):
            return Record(name, file, size, sha256, source, added)
        case _:
            return None
