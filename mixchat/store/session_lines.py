"""Lines with checksums, and what can be read of a damaged file of them.

Knows the frame of one line and how lines are found again behind damage; refuses to know what a line says. A line is
JSON: `{"sum":"1c291ca3","line":{...}}`, where the sum is the CRC-32 of the inner object's bytes as they lie.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_MARK: Final = b'{"sum":"'
# A quotation mark inside of a JSON text has a backslash before it, so no text holds the mark of a line.
_BEFORE_MARK: Final = re.compile(rb"(?=" + re.escape(_MARK) + rb")")
_FRAME: Final = re.compile(re.escape(_MARK) + rb'([0-9a-f]{8})","line":(.*)\}', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line, without its line end, and the object in it; `offset` is where it was."""

    offset: int
    raw: bytes
    item: object


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no line; `offset` is where they were."""

    offset: int
    raw: bytes


def line_of(item: Mapping[str, object]) -> bytes:
    """An object as a line with its checksum and its line end."""
    body = json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
    return b'%s%08x","line":%s}\n' % (_MARK, zlib.crc32(body), body)


def scan(data: bytes) -> Iterator[Line | Damage]:
    """Everything in a file, in its order; line ends are not told.

    1. A line whose sum is right is good; an empty one is nothing.
    2. In any other, each mark of a line may begin a good one: what stands before it was garbage, or its line end was
       damaged, and then it has one byte too many.
    """
    offset = 0
    for text in data.split(b"\n"):
        if (item := _item(text)) is not None:
            yield Line(offset, text, item)
        elif text:
            yield from _salvaged(text, offset)
        offset += len(text) + 1


def _salvaged(text: bytes, offset: int) -> Iterator[Line | Damage]:
    for part in _BEFORE_MARK.split(text):
        if (item := _item(part)) is not None:
            yield Line(offset, part, item)
        elif (item := _item(part[:-1])) is not None:
            yield Line(offset, part[:-1], item)
            yield Damage(offset + len(part) - 1, part[-1:])
        elif part:
            yield Damage(offset, part)
        offset += len(part)


def _item(text: bytes) -> object | None:
    """The object in a line; None when it is no good line."""
    frame = _FRAME.fullmatch(text)
    if frame is None or zlib.crc32(frame[2]) != int(frame[1], 16):
        return None
    try:
        item: object = json.loads(frame[2])
    except (ValueError, RecursionError):
        return None
    return item
