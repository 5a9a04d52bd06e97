"""Takes a model file from elsewhere into the store: from a USB stick, or from another tool.

Knows how a file is checked, hashed and linked, copied or left where it is; refuses to know downloads. `model.json` is
written last, and whatever fails before takes its files away again.
"""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mixchat.errors import BadModel, OutputError, UsageError
from mixchat.gguf.model import describe
from mixchat.gguf.shards import shard_names, stem_of
from mixchat.models.header_file import unreadable
from mixchat.models.keeping import partials
from mixchat.models.library import Piece, Record, can_store, installed, write_record
from mixchat.models.reference import Alias, parse_reference
from mixchat.models.registry import KnownFile, Registry
from mixchat.models.shards import read_model
from mixchat.models.streaming import Checking, Copying, check_space, counted, hashed, open_model_file, whole
from mixchat.store.atomic import atomic_file
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_folder

How = Literal["auto", "copy", "link", "leave"]
_WORDS = {"copy": "copied", "link": "hard-linked", "leave": "left in place"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What to import.

    Attributes:
        path: The file; of shards the first.
        name: In the store; None takes the file's.
        how: `auto` links where the file system can, else copies.
        force: Take a legacy file, and one that is not what the registry knows under its name.
    """

    path: Path
    name: str | None = None
    how: How = "auto"
    force: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """The model is in the store; `how` says in words how its files came there."""

    record: Record
    path: Path
    how: str


ImportEvent = Checking | Copying | Imported


def import_model(places: Places, registry: Registry, wish: Wish) -> Iterator[ImportEvent]:
    """Take a model into the store; ends with Imported.

    1. The file, and all its shards, are found and their headers checked.
    2. The name is free, and no way out of the store.
    3. The files are linked, copied or left, and hashed; a known file's hash must be the known one.
    4. `model.json` declares the model installed.

    Raises:
        NotFound: A file is not there.
        BadModel: A file is damaged, no model, legacy, or not what the registry knows under its name.
        UsageError: The name cannot be used.
        OutputError: The store cannot be written, or has no room.
    """
    sources = _sources(wish.path)
    _check_headers(sources, force=wish.force)
    name = _checked_name(wish, registry)
    with hold(ensure_folder(places.models) / f".{name}.lock", timeout=0):
        _check_free(places, name)
        folder = ensure_folder(places.models / name)
        try:
            record = yield from _taken(folder, sources, wish, registry)
            write_record(places, record)
        except BaseException:
            _undo(folder, sources, name)
            raise
    path = Path(record.folder or folder) / record.file
    yield Imported(record, path, record.source.rsplit(", ", 1)[-1])


def _sources(path: Path) -> tuple[Path, ...]:
    """The model's files, with links followed: `auto` and `link` link the file itself."""
    path = path.expanduser()
    names = shard_names(path.name)
    if path.name != names[0]:
        raise UsageError(f"{path} is not the first shard.", f"Give {path.with_name(names[0])}")
    return tuple(_existing(path.with_name(name)) for name in names)


def _existing(path: Path) -> Path:
    try:
        path.stat()
    except (OSError, ValueError) as exc:
        raise unreadable(path, exc) from exc
    return path.absolute()


def _check_headers(sources: Sequence[Path], *, force: bool) -> None:
    header = read_model(sources[0])
    try:
        model = describe(header)
    except BadModel as exc:
        raise type(exc)(f"{sources[0]}: {exc.message}", exc.hint) from exc
    if model.layout == "legacy" and not force:
        raise BadModel(
            f"{sources[0]} stores each expert as a tensor of its own; llama.cpp no longer loads that.",
            f"Run: mixchat upgrade {sources[0]}, and import the result.",
        )


def _checked_name(wish: Wish, registry: Registry) -> str:
    name = wish.name if wish.name is not None else stem_of(wish.path.name)
    try:
        reference = parse_reference(name, (name,))
    except UsageError as exc:
        raise UsageError(exc.message.replace(" is no model", " is no name"), "Give another with --name.") from exc
    if reference != Alias(name) or name.lower().endswith(".gguf"):
        raise UsageError(f"{name!r} is no name for a model in the store.", "Give another with --name.")
    if registry.get(name) is not None:
        raise UsageError(f"{name} is the short name of a known model.", "Give another with --name.")
    return name


def _check_free(places: Places, name: str) -> None:
    taken = [model.record.name for model in installed(places)] + [part.name for part in partials(places)]
    if name in taken or (places.models / name).is_symlink():
        raise UsageError(
            f"{name} is in the store already.", f"Give another name with --name, or first: mixchat rm {name}"
        )


def _taken(
    folder: Path, sources: Sequence[Path], wish: Wish, registry: Registry
) -> Generator[Checking | Copying, None, Record]:
    """Link, copy or leave the files, hash them, and say what the record is."""
    how = _possible(folder, sources, wish.how)
    targets = sources if how == "leave" else [folder / name for name in _names(sources, folder.name)]
    if how == "copy":
        check_space(folder, sum(whole(path).nbytes for path in sources))
    pieces = yield from _hashed(sources, targets, copy=how == "copy")
    for piece, source in zip(pieces, sources, strict=True):
        if not wish.force:
            _compare(source, piece, registry.known_file(source.name))
    first, *others = pieces
    return Record(
        name=folder.name,
        file=first.file,
        bytes=first.bytes,
        sha256=first.sha256,
        source=f"imported from {sources[0]}, {_WORDS[how]}",
        added=datetime.now(UTC).isoformat(timespec="seconds"),
        others=tuple(others),
        folder=str(sources[0].parent) if how == "leave" else None,
    )


def _names(sources: Sequence[Path], name: str) -> list[str]:
    """Names in the store: the files' own where it takes those."""
    if all(can_store(path.name) for path in sources):
        return [path.name for path in sources]
    if len(sources) == 1:
        return [f"{name}.gguf"]
    return list(shard_names(f"{name}-00001-of-{len(sources):05}.gguf"))


def _possible(folder: Path, sources: Sequence[Path], how: How) -> How:
    """The way that works here; links are made now, since only trying tells."""
    if how in {"copy", "leave"}:
        return how
    targets = [folder / name for name in _names(sources, folder.name)]
    try:
        for source, target in zip(sources, targets, strict=True):
            target.unlink(missing_ok=True)
            os.link(source.resolve(), target)
    except OSError as exc:
        for target in targets:
            with suppress(OSError):
                target.unlink()
        if how == "link":
            raise OutputError(
                f"{sources[0]} cannot be linked into {folder}: {exc.strerror or exc}.", "Use --copy or --leave."
            ) from exc
        return "copy"
    return "link"


def _hashed(
    sources: Sequence[Path], targets: Sequence[Path], *, copy: bool
) -> Generator[Checking | Copying, None, list[Piece]]:
    """Read every file, into its copy if there is to be one."""
    total, done, pieces = sum(whole(path).nbytes for path in sources), 0, []
    for source, target in zip(sources, targets, strict=True):
        span = whole(source)
        with open_model_file(source) as file:
            if copy:
                with atomic_file(target, mode=0o644, nameless=True) as out:
                    sha256 = yield from counted(hashed(file, span, out), Copying, done, total)
            else:
                sha256 = yield from counted(hashed(file, span), Checking, done, total)
        done += span.nbytes
        pieces.append(Piece(target.name, span.nbytes, sha256))
    return pieces


def _compare(path: Path, piece: Piece, known: KnownFile | None) -> None:
    """Refuse a file that has the name of a known one and not its bytes."""
    if known is None:
        return
    same_hash = known.sha256 in {None, piece.sha256}
    if piece.bytes != known.nbytes or not same_hash:
        raise BadModel(
            f"{path} has the name of a file of {known.repo} and other bytes: {piece.bytes:,} with the sha256 "
            f"{piece.sha256}, instead of {known.nbytes:,} with {known.sha256 or 'one that is not known'}.",
            "It is damaged or another file: fetch it again, rename it, or take it as it is with --force.",
        )


def _undo(folder: Path, sources: Sequence[Path], name: str) -> None:
    for file in _names(sources, name):
        with suppress(OSError):
            (folder / file).unlink()
    with suppress(OSError):
        folder.rmdir()
