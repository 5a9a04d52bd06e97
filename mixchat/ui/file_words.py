r"""The files that a half typed name may mean.

Knows folders, `~`, wildcards and the quoting of spaces (`\ `, `"..."`, `'...'`, as a shell has it); refuses to know
what the files are for.
"""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from mixchat.plan.units import format_bytes
from mixchat.ui.sanitize import single_line

_Quote = Literal["", "'", '"']
_SPECIAL: Final = " \t'\"\\"
_MOST: Final = 200
_HOME: Final = "~"


@dataclass(frozen=True, slots=True)
class FileWord:
    """A file or folder to go on with.

    Attributes:
        text: Its path as it was begun, quoted; a folder ends with `/`.
        start: Characters of the line that stay.
        meaning: Its size, or `folder`.
    """

    text: str
    start: int
    meaning: str


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    text: str
    quote: _Quote


def complete_files(line: str) -> Iterator[FileWord]:
    """The files that the last word of a line may mean, at most 200, in the order of their names.

    Hidden ones come when their dot is typed, names with control characters never, and a word with wildcards brings the
    files that it matches.
    """
    word = _last_word(line)
    for path, entry in _found(word.text):
        if single_line(path) == path and path.isprintable():
            folder = os.path.isdir(entry)  # noqa: PTH112 - paths stay as they were typed
            text = _quoted(path + "/" if folder else path, word.quote, closed=not folder)
            yield FileWord(text, word.start, "folder" if folder else _size(entry))


def _last_word(line: str) -> _Word:
    start, text, quote, escaped = 0, "", "", False
    for place, char in enumerate(line, 1):
        if escaped:
            text, escaped = text + char, False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif not quote and char == " ":
            start, text = place, ""
        else:
            text += char
    return _Word(start, text, "'" if quote == "'" else '"' if quote else "")


def _found(typed: str) -> Iterable[tuple[str, str]]:
    """Each path as the person would write it, and as the system knows it."""
    if typed == _HOME:
        return [(_HOME, os.path.expanduser(_HOME))]  # noqa: PTH111 - as above
    home = os.path.expanduser(_HOME) if typed.startswith("~/") else ""  # noqa: PTH111
    begun = home + typed.removeprefix(_HOME) if home else typed
    entries = (_matches(begun) if glob.has_magic(begun) else []) or _beginning(begun)
    return [(_HOME + entry.removeprefix(home) if home else entry, entry) for entry in entries]


def _matches(pattern: str) -> list[str]:
    return sorted(islice(glob.iglob(pattern), _MOST))  # noqa: PTH207 - as above


def _beginning(begun: str) -> list[str]:
    folder, slash, name = begun.rpartition("/")
    try:
        names = os.listdir(folder + slash or ".")  # noqa: PTH208 - as above
    except (OSError, ValueError):
        return []
    offered = sorted(each for each in names if not each.startswith(".") or name.startswith("."))
    exact = [each for each in offered if each.startswith(name)]
    chosen = exact or [each for each in offered if each.lower().startswith(name.lower())]
    return [folder + slash + each for each in chosen[:_MOST]]


def _quoted(path: str, quote: _Quote, *, closed: bool) -> str:
    if quote == "'":
        text = path.replace("'", "'\\''")
    else:
        special = '"\\' if quote else _SPECIAL
        text = "".join(f"\\{char}" if char in special else char for char in path)
    return quote + text + (quote if closed else "")


def _size(path: str) -> str:
    try:
        return format_bytes(os.stat(path).st_size)  # noqa: PTH116 - as above
    except OSError:
        return ""
