"""A file with one tensor per expert, rewritten into one with merged experts.

Knows how to write the new file whole or not at all, and to prove every byte of it; refuses to know which layouts can
be merged (`gguf.merge`) and how progress is shown. The metadata is copied byte for byte. Memory stays small: tensors
go through in pieces. (`os.copy_file_range` would gain nothing: each byte is hashed on its way, and tensors begin at
multiples of 32 bytes, so no file system can share their blocks between the two files.)
"""

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mixchat.errors import BadModel, OutputError, UsageError
from mixchat.gguf.header import METADATA_START, Header, TensorInfo, parse_header
from mixchat.gguf.merge import Joined, merged_layout
from mixchat.gguf.writer import header_around
from mixchat.models.header_file import read_header
from mixchat.models.streaming import Checking, Copying, Span, check_space, counted, hashed, open_model_file
from mixchat.store.atomic import atomic_file


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The new file is there.

    Attributes:
        path: Where.
        nbytes: Its size.
        merged: Tensors of single experts that went into merged ones.
        tensors: Tensors that it has.
    """

    path: Path
    nbytes: int
    merged: int
    tensors: int


@dataclass(frozen=True, slots=True)
class _Slice:
    """A source tensor's place in the new file, and the hash of its bytes."""

    name: str
    span: Span
    sha256: str


UpgradeEvent = Copying | Checking | Upgraded


def default_target(source: Path) -> Path:
    """Beside the source, with `-merged` in its name."""
    return source.with_name(f"{source.stem}-merged.gguf")


def upgrade(source: Path, target: Path, *, force: bool = False) -> Iterator[UpgradeEvent]:
    """Write the merged twin of a legacy file; ends with Upgraded.

    1. All that can be refused is refused by the header, before anything is written.
    2. The new header goes out with the source's own metadata, then every tensor, hashed on its way.
    3. The new file is read back and compared, each expert by its hash. (What the system still has in memory it does
       not fetch from the disk: to force that takes several times as long as everything else.)
    4. Only then it takes its place, on the disk for certain.

    Args:
        source: The legacy file.
        target: Where the new one goes.
        force: Replace a file that is there.

    Raises:
        UsageError: There is nothing to upgrade, or the target is there.
        BadModel: The source cannot be merged without loss, is damaged, or changed meanwhile.
        NotFound: There is no source.
        OutputError: The disk is too full or fails.
    """
    header = read_header(source)
    layout = _refusing(source, header)
    _check_target(source, target, force=force)
    with open_model_file(source) as file:
        before = os.fstat(file.fileno())
        start = _new_header(file, header, layout)
        expected = parse_header(start)
        nbytes = _padded(expected)
        check_space(target.parent, nbytes)
        with atomic_file(target, mode=0o644, nameless=True) as out:
            slices = yield from _copied((source, file), header, (layout, expected), (out, start))
            out.truncate(nbytes)
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise BadModel(f"{source} changed while it was read.", "Run the command again.")
            out.flush()
            yield from _checked(target, out, start, slices)
    merged = sum(len(joined.parts) for joined in layout if joined.name != joined.parts[0].name)
    yield Upgraded(target, nbytes, merged, len(layout))


def _refusing(source: Path, header: Header) -> tuple[Joined, ...]:
    try:
        return merged_layout(header)
    except (BadModel, UsageError) as exc:
        raise type(exc)(f"{source}: {exc.message}", exc.hint) from exc


def _check_target(source: Path, target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise UsageError(f"{target} is a folder.", "Give the path of the new file with -o.")
    if not target.exists():
        return
    if target.samefile(source):
        raise UsageError(f"{target} is the file to upgrade.", "Give another path with -o.")
    if not force:
        raise UsageError(f"{target} is there already.", "Give another path with -o, or --force to replace it.")


def _new_header(file: BinaryIO, header: Header, layout: Sequence[Joined]) -> bytes:
    values = os.pread(file.fileno(), header.metadata_end - METADATA_START, METADATA_START)
    tensors = [(joined.name, joined.shape, joined.parts[0].type) for joined in layout]
    return header_around((header.version, len(header.metadata)), values, tensors, header.alignment)


def _padded(header: Header) -> int:
    """Bytes of the whole file; the last tensor is padded like the others."""
    return header.file_bytes + -(header.file_bytes - header.data_offset) % header.alignment


def _copied(
    source: tuple[Path, BinaryIO],
    header: Header,
    plan: tuple[Sequence[Joined], Header],
    new: tuple[BinaryIO, bytes],
) -> Generator[Copying, None, tuple[_Slice, ...]]:
    """Write the header and all tensors, each at its offset; returns where they lie."""
    (path, file), (layout, expected), (out, start) = source, plan, new
    out.write(start)
    total, done, slices = sum(tensor.nbytes for tensor in header.tensors), 0, []
    for joined, tensor in zip(layout, expected.tensors, strict=True):
        position = expected.data_offset + tensor.offset
        for part in joined.parts:
            out.seek(position)
            copying = hashed(file, _span(path, header, part), out)
            sha256 = yield from counted(copying, Copying, done, total)
            slices.append(_Slice(part.name, Span(path, position, part.nbytes), sha256))
            position, done = position + part.nbytes, done + part.nbytes
    return tuple(slices)


def _checked(target: Path, out: BinaryIO, start: bytes, slices: Sequence[_Slice]) -> Iterator[Checking]:
    """Read the new file back: its header, then every source tensor's bytes."""
    if os.pread(out.fileno(), len(start), 0) != start:
        raise _differs(target, "its header")
    total, done = sum(piece.span.nbytes for piece in slices), 0
    for piece in slices:
        reading = hashed(out, Span(target, piece.span.start, piece.span.nbytes))
        if (yield from counted(reading, Checking, done, total)) != piece.sha256:
            raise _differs(target, piece.name)
        done += piece.span.nbytes


def _span(path: Path, header: Header, tensor: TensorInfo) -> Span:
    return Span(path, header.data_offset + tensor.offset, tensor.nbytes)


def _differs(target: Path, what: str) -> OutputError:
    return OutputError(
        f"{target} was written and reads back differently ({what}).", "Check the disk and the memory of this machine."
    )
