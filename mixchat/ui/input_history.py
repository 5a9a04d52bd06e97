"""What a person typed in all chats, for the arrow keys and the search.

Knows the file, a JSON string a line, and its limits; refuses to know keys. Damaged lines are passed over.
"""

import errno
import json
import os
import stat
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from mixchat.chat.inputs import without_surrogates
from mixchat.errors import OutputError
from mixchat.store.atomic import write_atomic
from mixchat.store.locks import hold
from mixchat.store.places import ensure_private

_MOST_ENTRIES: Final = 5000
_MOST_BYTES: Final = 4 * 1024 * 1024
_LONGEST: Final = 256 * 1024
_LOCK_SECONDS: Final = 2.0


class InputHistory:
    """Texts typed before, at most 5000 and 4 MiB; without a path they are kept in memory and nothing is written.

    The file is private (0600, in a folder of 0700). Several processes may append to it; each knows what was there when
    it first looked, and what it added itself.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: list[str] | None = None
        self._in_file = 0

    @property
    def entries(self) -> Sequence[str]:
        """Oldest first; nothing when the file cannot be read."""
        if self._known is None:
            lines = [] if self._path is None else _lines(self._path)
            self._in_file = len(lines)
            self._known = _parsed(lines)
        return self._known

    def append(self, text: str) -> None:
        """Add a text, if it is not blank and not the last one again; one over 256 KiB is not kept on disk.

        Raises:
            OutputError: The file could not be written; it is as it was, and the text is known in this process.
            InUse: Another process held the file for two seconds; likewise.
        """
        text = without_surrogates(text)
        if not text.strip() or self.entries[-1:] == [text]:
            return
        self._known = [*self.entries, text][-_MOST_ENTRIES:]
        line = _line(text)
        if self._path is not None and len(line) <= _LONGEST:
            self._keep(self._path, line)

    def _keep(self, path: Path, line: bytes) -> None:
        try:
            ensure_private(path.parent)
            with hold(path.with_name(path.name + ".lock"), timeout=_LOCK_SECONDS):
                size = _append(path, line)
                self._in_file += 1
                if size > _MOST_BYTES or self._in_file > _MOST_ENTRIES:
                    self._in_file = _shrink(path)
        except OSError as exc:
            raise OutputError(
                f"The history {path} could not be written: {exc.strerror or exc}.",
                "Free some space or check its permissions; what you type is known until this chat ends.",
            ) from exc


def _append(path: Path, line: bytes) -> int:
    """Write a line with one call, behind the end of a torn one; the file's size then."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        before = os.fstat(descriptor)
        if stat.S_ISREG(before.st_mode) and before.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        torn = before.st_size and os.pread(descriptor, 1, before.st_size - 1) != b"\n"
        data = b"\n" + line if torn else line
        if os.write(descriptor, data) < len(data):
            os.ftruncate(descriptor, before.st_size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return before.st_size + len(data)
    finally:
        os.close(descriptor)


def _shrink(path: Path) -> int:
    """Keep the newest entries, to four fifths of both limits, so that this is rare; their number."""
    kept: list[bytes] = []
    room = _MOST_BYTES * 4 // 5
    for text in reversed(_parsed(_lines(path))[-(_MOST_ENTRIES * 4 // 5) :]):
        line = _line(text)
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    write_atomic(path, b"".join(reversed(kept)))
    return len(kept)


def _lines(path: Path) -> list[bytes]:
    """The file's lines, of a file that is too large the last 4 MiB of them."""
    try:
        if not path.is_file():
            return []
        with path.open("rb") as file:
            skipped = file.seek(max(file.seek(0, os.SEEK_END) - _MOST_BYTES, 0))
            lines = file.read(_MOST_BYTES + _LONGEST).split(b"\n")
    except OSError:
        return []
    return [line for line in (lines[1:] if skipped else lines) if line]


def _line(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode() + b"\n"


def _parsed(lines: Iterable[bytes]) -> list[str]:
    """The newest entries, of doubles in a row one."""
    texts = list(chain.from_iterable(map(_text, lines)))
    return [text for text, before in zip(texts, [None, *texts], strict=False) if text != before][-_MOST_ENTRIES:]


def _text(line: bytes) -> tuple[str, ...]:
    try:
        text: object = json.loads(line)
    except (ValueError, RecursionError):
        return ()
    return (without_surrogates(text),) if isinstance(text, str) and text.strip() else ()
