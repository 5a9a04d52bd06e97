"""What lies in the store, taking it out again, and whether it is still what it was.

Knows the files beside whole models (parts of downloads, leftovers of killed processes) and how a model is removed so
that no moment shows half of it; refuses to know how any of it got there.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mixchat.errors import BadModel, NotFound, OutputError, UsageError
from mixchat.models.finding import find
from mixchat.models.header_file import read_header
from mixchat.models.library import RECORD, USED, Installed, Piece, installed
from mixchat.models.part import PART, STATE
from mixchat.models.reference import Alias, LocalPath, Reference
from mixchat.models.registry import Registry
from mixchat.models.streaming import Checking, counted, hashed, open_model_file, whole
from mixchat.store.locks import hold, unused
from mixchat.store.places import Places

_STATE_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Partial:
    """A download that is not finished.

    Attributes:
        name: Of the folder in the store.
        file: The file that it will be.
        have: Bytes that are there.
        size: Bytes that it will have, None when that is not known.
    """

    name: str
    file: str
    have: int
    size: int | None


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file in the store that belongs to no model: a killed process left it, or one is writing it now."""

    name: str
    path: Path
    nbytes: int


@dataclass(frozen=True, slots=True)
class Removal:
    """What is going to be removed.

    Attributes:
        name: Of the folder in the store.
        folder: That folder.
        files: Model files that must not be in use.
        nbytes: Bytes in the folder.
        kept: The model's files stay there: they were left in place. None when they go.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    nbytes: int
    kept: Path | None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A file to verify, and what it must be; None where only its header can tell.

    Attributes:
        authority: Who says what it must be, in words.
        remedy: What to do when it is not.
    """

    path: Path
    piece: Piece | None
    authority: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A file is sound; `sha256` is None when nobody knows which it must have, so that only the header was checked."""

    path: Path
    nbytes: int
    sha256: str | None
    authority: str


def partials(places: Places) -> tuple[Partial, ...]:
    """Downloads in the store that are not finished, by name."""
    return tuple(
        Partial(folder.name, path.name.removesuffix(PART), _size(path), _announced(path))
        for folder in folders(places)
        for path in _files(folder)
        if path.name.endswith(PART)
    )


def leftovers(places: Places) -> tuple[Leftover, ...]:
    """Files in the store that belong to nothing, by name; of a download that goes on, finished shards do not count."""
    models = {model.record.name: model for model in installed(places)}
    return tuple(
        Leftover(folder.name, path, _size(path))
        for folder in folders(places)
        for path in _strays(folder, models.get(folder.name))
    )


def folders(places: Places) -> tuple[Path, ...]:
    """The store's folders by name; links to folders are none."""
    try:
        found = sorted(places.models.iterdir())
    except OSError:
        return ()
    return tuple(folder for folder in found if folder.is_dir() and not folder.is_symlink())


def removal(places: Places, registry: Registry, reference: Reference) -> Removal:
    """Find what a reference means in the store: a model, a download that is not finished, or leftovers.

    Raises:
        NotFound: There is nothing of it.
        UsageError: It is a file outside the store.
    """
    if isinstance(reference, Alias) and reference.quantization is None:
        for folder in folders(places):
            if folder.name == reference.name:
                return _removal(places, folder)
    model = stored(places, find(places, registry, reference).path)
    if model is not None:
        return _removal(places, places.models / model.record.name)
    if isinstance(reference, LocalPath):
        raise UsageError(f"{reference.path} is not in the store.", "Remove the file itself.")
    raise NotFound("There is no such model in the store.", "mixchat list shows what there is.")


def remove(places: Places, what: Removal) -> None:
    """Remove a folder of the store; the record goes first, so that the model is gone before its files are.

    Raises:
        InUse: The model is loaded, or another process is fetching or making it.
        OutputError: It cannot be removed.
    """
    with hold(places.models / f".{what.name}.lock", timeout=0), unused(what.files):
        try:
            (what.folder / RECORD).unlink(missing_ok=True)
            shutil.rmtree(what.folder)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise OutputError(
                f"{what.folder} cannot be removed: {exc.strerror or exc}.", "Check the permissions of the store."
            ) from exc


def stored(places: Places, path: Path) -> Installed | None:
    """The model of the store whose file this is."""
    return next((model for model in installed(places) if model.path == path), None)


def suspects(places: Places, registry: Registry, path: Path) -> tuple[Suspect, ...]:
    """The files to verify: as `model.json` has them, else as the registry knows a file of that name."""
    model = stored(places, path)
    if model is not None:
        record = model.record
        remedy = f"Run: mixchat rm {record.name}, then get it again ({record.source})."
        pieces = ((path.with_name(piece.file), piece) for piece in record.pieces)
        return tuple(Suspect(file, piece, "model.json", remedy) for file, piece in pieces)
    known = registry.known_file(path.name)
    if known is None or known.sha256 is None:
        return (Suspect(path, None, "its header", "Fetch the file again."),)
    piece = Piece(known.file, known.nbytes, known.sha256)
    return (Suspect(path, piece, f"the file of {known.repo}", "Fetch the file again."),)


def verify(files: Sequence[Suspect]) -> Iterator[Checking | Verified]:
    """Read every byte and compare; a Verified for each file.

    Raises:
        BadModel: A file is damaged.
        NotFound: A file is not there.
    """
    total, done = sum(whole(suspect.path).nbytes for suspect in files if suspect.piece), 0
    for suspect in files:
        header = read_header(suspect.path)
        if suspect.piece is None:
            yield Verified(suspect.path, header.file_bytes, None, suspect.authority)
            continue
        span = whole(suspect.path)
        _compare(suspect, f"{suspect.piece.bytes:,} bytes", f"{span.nbytes:,} bytes")
        with open_model_file(suspect.path) as file:
            sha256 = yield from counted(hashed(file, span), Checking, done, total)
        _compare(suspect, f"the sha256 {suspect.piece.sha256}", f"the sha256 {sha256}")
        done += span.nbytes
        yield Verified(suspect.path, span.nbytes, sha256, suspect.authority)


def _compare(suspect: Suspect, expected: str, found: str) -> None:
    if found != expected:
        raise BadModel(
            f"{suspect.path} is damaged: it has {found}, and {suspect.authority} has {expected}.", suspect.remedy
        )


def _removal(places: Places, folder: Path) -> Removal:
    model = next((model for model in installed(places) if model.record.name == folder.name), None)
    files = tuple(path for path in _files(folder) if path.suffix != ".json")
    kept = None
    if model is not None and model.record.folder is not None:
        kept = Path(model.record.folder)
        files += tuple(kept / piece.file for piece in model.record.pieces)
    return Removal(folder.name, folder, files, sum(_size(path) for path in _files(folder)), kept)


def _strays(folder: Path, model: Installed | None) -> Iterator[Path]:
    names = {RECORD, USED}
    if model is not None and model.record.folder is None:
        names |= {piece.file for piece in model.record.pieces}
    files = _files(folder)
    downloading = any(path.name.endswith(PART) for path in files)
    for path in files:
        finished = downloading and not path.name.startswith(".")
        if path.name not in names and not finished and not path.name.endswith(".lock"):
            yield path


def _files(folder: Path) -> list[Path]:
    """All files below a folder; links are not followed."""
    found = (Path(parent) / name for parent, _folders, names in os.walk(folder) for name in names)
    return sorted(found)


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_size
    return 0


def _announced(part: Path) -> int | None:
    """The size that a part's state file announces."""
    try:
        with part.with_name(part.name.removesuffix(PART) + STATE).open("rb") as file:
            state: object = json.loads(file.read(_STATE_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    size = state.get("size") if isinstance(state, dict) else None
    return size if isinstance(size, int) and size > 0 else None
