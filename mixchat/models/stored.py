"""Where in the store a model from the hub goes, and the room that it takes there.

Knows folders' names, parts of earlier tries and the disk; refuses to know how the files get there.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from mixchat.errors import OutputError
from mixchat.models.download import stored_name
from mixchat.models.library import installed
from mixchat.models.origin import Origin, distinct, folder_for, parse_origin
from mixchat.models.part import part_bytes
from mixchat.models.remote import RemoteFile
from mixchat.store.places import Places


def origin_of(files: Sequence[RemoteFile], revision: str | None = None) -> Origin:
    """Where a model's files come from; `revision` is what was asked for."""
    return Origin(files[0].repo, files[0].path, files[0].commit, revision)


def folder_of(places: Places, name: str, origin: Origin) -> str:
    """The name of a model's folder: readable, and never one that another model has.

    Args:
        places: Where the store is.
        name: The reference that means just this model.
        origin: Where its files come from.
    """
    folder = folder_for(origin) if name.startswith("hf:") else name.replace(":", "-")
    for model in installed(places):
        there = parse_origin(model.record.source)
        if model.record.name == folder and not (there and there.is_of(origin.repo, origin.path, origin.commit)):
            return distinct(folder, origin)
    return folder


def target_of(places: Places, folder: str, file: RemoteFile) -> Path:
    """Where a file will lie.

    Raises:
        BadModel: Its name is hostile.
    """
    return places.models / folder / stored_name(file.path)


def missing_bytes(places: Places, folder: str, files: Sequence[RemoteFile]) -> int:
    """Bytes of these files that are neither there nor in a part of an earlier try.

    Raises:
        BadModel: A name is hostile.
    """
    return sum(_missing(target_of(places, folder, file), file) for file in files)


def free_bytes(folder: Path) -> int:
    """Bytes that the disk has free for a folder that need not exist yet.

    Raises:
        OutputError: The disk cannot be asked.
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        return shutil.disk_usage(there).free
    except OSError as exc:
        raise OutputError(
            f"The disk of {folder} cannot be asked: {exc.strerror or exc}.", "Set MIXCHAT_MODELS."
        ) from exc


def _missing(target: Path, file: RemoteFile) -> int:
    if target.is_file() and not target.is_symlink() and target.stat().st_size == file.size:
        return 0
    return file.size - part_bytes(target, file)
