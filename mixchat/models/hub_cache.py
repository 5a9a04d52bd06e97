"""Files that the hub's own library has downloaded before: its cache, read and never written.

Knows the cache's layout (https://huggingface.co/docs/huggingface_hub/guides/manage-cache):
`models--owner--name/snapshots/<commit>/<file>`, a link to `blobs/<sha256>`. Refuses to judge the content: who takes a
file from here checks its hash.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from os import link
from pathlib import Path

from mixchat.models.events import Downloading
from mixchat.models.remote import RemoteFile, is_safe_path
from mixchat.store.atomic import atomic_file
from mixchat.store.places import ensure_folder

_CHUNK = 4 << 20


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where the cache is, by the library's own rules: HF_HUB_CACHE, HF_HOME/hub, else in the user's cache folder."""
    if given := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(given).expanduser()
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def cached(cache: Path, file: RemoteFile) -> Path | None:
    """A complete copy of the file in the cache: of the commit, or of the hash under any commit; size and name agree.

    A file without a known hash is never taken: nobody could tell whether it is the right one.
    """
    if file.sha256 is None or not is_safe_path(file.path):
        return None
    repo = cache / f"models--{file.repo.replace('/', '--')}"
    for path in (repo / "snapshots" / file.commit / file.path, repo / "blobs" / file.sha256):
        with suppress(OSError, ValueError):
            real = path.resolve(strict=True)
            if real.is_file() and real.stat().st_size == file.size:
                return real
    return None


def can_link(source: Path, folder: Path) -> bool:
    """Whether the file takes no new room in a folder that need not exist yet: both are on one disk."""
    with suppress(OSError):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        return source.stat().st_dev == there.stat().st_dev
    return False


def take(source: Path, target: Path) -> Iterator[Downloading]:
    """Put a file of the cache at `target`, which must not be there: as a hard link, else as a copy with its progress.

    Raises:
        OutputError: It could not be copied.
    """
    ensure_folder(target.parent)
    with suppress(OSError):
        link(source, target)
        return
    total = source.stat().st_size
    with source.open("rb") as content, atomic_file(target, mode=0o644, nameless=True) as file:
        while chunk := content.read(_CHUNK):
            file.write(chunk)
            yield Downloading(file.tell(), total)
