"""Files and globs that a person names, read as attachments; and what they cost.

Knows paths, patterns and limits; refuses to know how an attachment looks in a prompt and who asked for it.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from mixchat.chat.attachments import Attachment, render_attachment
from mixchat.chat.inputs import decode_text
from mixchat.chat.messages import Text
from mixchat.engine.port import Engine
from mixchat.errors import NotFound, UsageError
from mixchat.plan.units import format_bytes

MOST_BYTES: Final = 16 << 20
"""Of one file: several times what the longest contexts hold."""
MOST_FILES: Final = 1000
MOST_TOTAL: Final = 64 << 20


def read_attachments(patterns: Sequence[str], base: Path) -> tuple[Attachment, ...]:
    """Read all files that are named, each once, in the order of the names; those of a glob are sorted.

    A name is a file if there is one, whatever characters it has; otherwise a glob, in which `**` is any folders. `~` is
    the person's own folder. A glob finds files only, and hidden ones where it says so.

    Args:
        patterns: As the person wrote them.
        base: What relative ones start from; attachments below it are named from there.

    Raises:
        NotFound: There is no such file, or none that a glob matches.
        UsageError: It is a folder, no text, too large, or cannot be read.
    """
    return tuple(_read_all(find_files(patterns, base)))


def find_files(patterns: Sequence[str], base: Path) -> tuple[tuple[str, Path], ...]:
    """The files that are named, each once, with what to call them; in the order of `read_attachments`.

    Raises:
        NotFound: There is no such file, or none that a glob matches.
        UsageError: It is a folder, or there are too many.
    """
    base = Path(os.path.abspath(base))  # noqa: PTH100 - resolve() would rename what lies behind a link
    found: dict[str, tuple[str, Path]] = {}
    for pattern in patterns:
        matches = list(islice(_matches(pattern, base), MOST_FILES + 1))
        for name, path in sorted((_name(path, base), path) for path in matches):
            found.setdefault(os.path.realpath(path), (name, path))
        if len(found) > MOST_FILES or len(matches) > MOST_FILES:
            raise UsageError(f"{pattern} and what comes before it are over {MOST_FILES} files.", "Name fewer.")
    return tuple(found.values())


def read_file(name: str, path: Path) -> Attachment:
    """Read one file.

    Raises:
        NotFound: It is gone.
        UsageError: It is no text, too large, or cannot be read.
    """
    return Attachment(name, decode_text(_read(name, path), name))


def count_tokens(engine: Engine, attachments: Sequence[Attachment]) -> tuple[int, ...]:
    """Tokens of each attachment as it stands in a message, its name and fence included.

    Where two texts meet in a prompt a token more or less is possible.
    """
    pieces = [Text(render_attachment(attachment)) for attachment in attachments]
    return tuple(len(ids) for ids in engine.tokenize(pieces, prompt=False)) if pieces else ()


def _matches(pattern: str, base: Path) -> Iterator[Path]:
    path = _absolute(pattern, base)
    if os.path.isdir(path):  # noqa: PTH112 - False for what cannot be asked, such as a name with a NUL
        raise UsageError(f"{_name(path, base)} is a folder.", f"Name its files: {pattern.rstrip('/') or '.'}/*")
    if os.path.exists(path):  # noqa: PTH110 - the same
        return iter((path,))
    return _globbed(os.path.expanduser(pattern), base)  # noqa: PTH111 - never raises


def _globbed(pattern: str, base: Path) -> Iterator[Path]:
    if not glob.has_magic(pattern):
        raise NotFound(f"There is no file {pattern}.", "Check its name; a glob such as '*.py' works too.")
    found = glob.iglob(pattern, root_dir=base, recursive=True)  # noqa: PTH207 - takes absolute patterns too
    files = (path for path in (_absolute(name, base) for name in found) if os.path.isfile(path))  # noqa: PTH113 - as above
    first = next(files, None)
    if first is None:
        raise NotFound(f"No file matches {pattern}.", "Check it; ** stands for any folders.")
    yield first
    yield from files


def _absolute(name: str, base: Path) -> Path:
    return Path(os.path.abspath(base / os.path.expanduser(name)))  # noqa: PTH100, PTH111 - as above


def _name(path: Path, base: Path) -> str:
    """The path from the base when it lies below, with `/` on every system."""
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()


def _read_all(named: Sequence[tuple[str, Path]]) -> Iterator[Attachment]:
    total = 0
    for name, path in named:
        data = _read(name, path)
        total += len(data)
        if total > MOST_TOTAL:
            raise UsageError(f"The files are larger than {format_bytes(MOST_TOTAL)} together.", "Name fewer.")
        yield Attachment(name, decode_text(data, name))


def _read(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as exc:
        raise NotFound(f"The file {name} is gone.", "Name it again.") from exc
    except OSError as exc:
        raise UsageError(f"{name} cannot be read: {exc.strerror or exc}.", "Check its permissions.") from exc
    if len(data) > MOST_BYTES:
        raise UsageError(f"{name} is larger than {format_bytes(MOST_BYTES)}.", "Give a part of it.")
    return data
