"""Fetching a model for certain.

Knows what makes a file whole and a model installed: right bytes under the right names, and `model.json` last; refuses
to know the network's moods and how a part lies on the disk.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from mixchat.errors import BadModel, InUse, NotFound, OutputError
from mixchat.models.events import Downloading, FetchEvent, Verifying, Waiting
from mixchat.models.header_file import read_header
from mixchat.models.hub import Hub
from mixchat.models.library import RECORD, Piece, Record, installed, write_record
from mixchat.models.part import Part, forget, open_part, part_bytes
from mixchat.models.remote import RemoteFile, is_safe_path
from mixchat.models.transfer import transfer
from mixchat.store.atomic import remove_leftovers
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_folder

RESERVE = 256 << 20
"""Bytes of the disk that a download leaves free."""

_CHUNK = 4 << 20
_LOCK_SECONDS = 1.0
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def fetch(
    places: Places, hub: Hub, name: str, files: Sequence[RemoteFile], source: str
) -> Generator[FetchEvent, None, None]:
    """Put a model into the store, unless it is there: all its files, and only then its record.

    Of several processes one fetches it and the others wait; when it dies another takes over. Whatever ends it early,
    what was downloaded stays, and the next call goes on there.

    Args:
        places: Where the store is.
        hub: Where the files are.
        name: Of the model's folder.
        files: Of the model; of shards all, the first one first.
        source: Where it comes from, for the record.

    Raises:
        NetworkError: The network or the hub failed.
        NotFound: The hub no longer has a file.
        BadModel: A file came damaged twice, or its name is hostile.
        OutputError: The disk is too small or cannot be written.
    """
    targets = dict(zip(_targets(places, name, files), files, strict=True))
    if _is_installed(places, name, targets):
        return
    with ExitStack() as stack:
        yield from _lock(stack, places.models / f".{name}.lock")
        if not _is_installed(places, name, targets):
            pieces = yield from _fetch_all(hub, _own_folder(places, name), targets)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            first, *others = pieces
            write_record(places, Record(name, first.file, first.bytes, first.sha256, source, now, tuple(others)))


def download(hub: Hub, file: RemoteFile, target: Path) -> Generator[FetchEvent, None, str]:
    """Put one file at `target`, whose folder exists, and return its sha256; the caller holds the lock that guards it.

    The file appears under its name only when all of it is there and its hash is right, or, when nobody said a hash,
    when it is as long as its header says. A link at `target` is replaced, not followed.

    Raises:
        NetworkError: The network or the hub failed; the part stays.
        NotFound: The hub does not have the file.
        BadModel: It came damaged twice.
        OutputError: The disk is too small or cannot be written; the part stays.
    """
    check_space(target.parent, file.size - part_bytes(target, file))
    with open_part(target, file) as part:
        for done in part.rehash():
            yield Verifying(done, file.size)
        for last in (False, True):
            yield from transfer(hub, file, part)
            damage = _damage(part, file)
            if damage is None:
                break
            part.restart()
            if last:
                forget(target)
                raise BadModel(f"{file.path} came damaged twice: {damage}.", f"Look at {hub.page(file.repo)}.")
            yield Waiting(0.0, f"{file.path} came damaged ({damage}); it is fetched once more.")
        part.finish()
        return part.hexdigest()


def check_space(folder: Path, missing: int) -> None:
    """Make sure that so many bytes more fit the disk of an existing folder, and something stays free.

    Raises:
        OutputError: They do not.
    """
    free = shutil.disk_usage(folder).free
    if missing > 0 and missing + RESERVE > free:
        raise OutputError(
            f"The disk of {folder} is too small: {missing + RESERVE} bytes are needed and {free} are free.",
            "Free some space (mixchat list, mixchat rm), or set MIXCHAT_MODELS to a folder on another disk.",
        )


def stored_name(path: str) -> str:
    """The name under which the store keeps a file of a repository; characters that a record does not allow become `_`.

    Raises:
        BadModel: The name is hostile, or no model file's.
    """
    name = PurePosixPath(path).name
    plain = "".join(char if char in _NAME_CHARACTERS else "_" for char in name)
    if not is_safe_path(path) or not plain[0].isalnum() or not plain.lower().endswith(".gguf"):
        raise BadModel(f"{path[:80]!a} is no name for a model file.", "Name a .gguf file of the repository.")
    return plain


def _targets(places: Places, name: str, files: Sequence[RemoteFile]) -> list[Path]:
    """Where the files will lie, each inside the model's folder."""
    plain = set(name) <= _NAME_CHARACTERS and name[:1].isalnum()
    names = [stored_name(file.path) for file in files]
    if not plain or not names or len(set(names)) < len(names):
        raise BadModel(f"{name[:80]!a} with its {len(names)} files cannot be stored.", "Name another model.")
    return [places.models / name / stored for stored in names]


def _own_folder(places: Places, name: str) -> Path:
    """The model's folder, which must not lead elsewhere."""
    folder = places.models / name
    if folder.is_symlink():
        raise OutputError(f"{folder} is a link.", "Remove it, or set MIXCHAT_MODELS to the folder it leads to.")
    return ensure_folder(folder)


def _is_installed(places: Places, name: str, targets: dict[Path, RemoteFile]) -> bool:
    """Whether the store has these very files under that name."""
    wanted = [(path.name, file.size, file.sha256) for path, file in targets.items()]
    for model in installed(places):
        pieces = model.record.pieces
        if model.record.name == name and len(pieces) == len(wanted):
            pairs = zip(pieces, wanted, strict=True)
            return all(
                piece.file == path and piece.bytes == size and sha256 in {None, piece.sha256}
                for piece, (path, size, sha256) in pairs
            )
    return False


def _lock(stack: ExitStack, path: Path) -> Generator[Waiting, None, None]:
    """Take the lock, telling while another process has it."""
    timeout = 0.0
    while True:
        try:
            stack.enter_context(hold(path, timeout=timeout))
        except InUse:
            timeout = _LOCK_SECONDS
            yield Waiting(timeout, "Another process is fetching this model.")
        else:
            return


def _fetch_all(hub: Hub, folder: Path, targets: dict[Path, RemoteFile]) -> Generator[FetchEvent, None, list[Piece]]:
    """Fetch what is missing; sizes are summed before the first byte."""
    remove_leftovers(folder / RECORD)
    hashes: dict[Path, str] = {}
    for path, file in targets.items():
        if digest := (yield from _hash_of_whole(path, file)):
            hashes[path] = digest
    missing = {path: file for path, file in targets.items() if path not in hashes}
    check_space(folder, sum(file.size - part_bytes(path, file) for path, file in missing.items()))
    if missing:
        _withdraw(folder)
    done, total = 0, sum(file.size for file in targets.values())
    for path, file in targets.items():
        if path in missing:
            hashes[path] = yield from _counted(download(hub, file, path), done, total)
        forget(path)
        done += file.size
    return [Piece(path.name, file.size, hashes[path]) for path, file in targets.items()]


def _withdraw(folder: Path) -> None:
    """A record must not outlive the files that it describes."""
    try:
        (folder / RECORD).unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(f"{folder / RECORD} cannot be removed: {exc.strerror}.", "Check its permissions.") from exc


def _counted(events: Generator[FetchEvent, None, str], before: int, total: int) -> Generator[FetchEvent, None, str]:
    """One file's events, counted as part of all files."""
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return str(end.value)
            yield Downloading(before + event.done, total) if isinstance(event, Downloading) else event


def _hash_of_whole(path: Path, file: RemoteFile) -> Generator[FetchEvent, None, str | None]:
    """The hash of the file at `path` when it is already the right one: a kill may have come just before the record."""
    with suppress(OSError):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            return None
        sha256, done = hashlib.sha256(), 0
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as content:
            while chunk := content.read(_CHUNK):
                sha256.update(chunk)
                done += len(chunk)
                yield Verifying(done, file.size)
        if file.sha256 == sha256.hexdigest() or (file.sha256 is None and _incomplete(path) is None):
            return sha256.hexdigest()
    return None


def _damage(part: Part, file: RemoteFile) -> str | None:
    """What is wrong with a part that has all its bytes."""
    if file.sha256 is None:
        return _incomplete(part.path)
    return None if part.hexdigest() == file.sha256 else "its sha256 is not the one that it should have"


def _incomplete(path: Path) -> str | None:
    """What is wrong with a file of which only the header can tell whether it is whole."""
    try:
        header = read_header(path)
    except (BadModel, NotFound) as exc:
        return exc.message.removeprefix(f"{path}").lstrip(": ").rstrip(".")
    surplus = path.stat().st_size - header.file_bytes
    return None if surplus < header.alignment else f"it has {surplus} bytes too many"
