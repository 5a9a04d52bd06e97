"""A journal's records as JSON objects.

Knows the form of each record and which of them a newer mixchat wrote; refuses to know lines, checksums and files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, TypeGuard, cast

from mixchat.chat.inputs import without_surrogates
from mixchat.chat.journal import (
    Answered,
    Asked,
    Dialogue,
    Forked,
    ModelChosen,
    Named,
    Record,
    Rewound,
    SystemSet,
    ValueSet,
    WentBack,
    Windowed,
)
from mixchat.chat.messages import Turn

VERSION: Final = 1
"""Of the form of a record; a change that an older mixchat would misread raises it."""

MOST_TOKENS: Final = 1 << 20
"""Of one answer; those of a longer one are not kept, and made again from its text."""

LOST: Final = Turn("(This turn was damaged and could not be read.)", "", interrupted=True)
"""Stands where a turn was, so that the others keep their numbers; without an answer it is no part of a prompt."""

_MOST_LOST: Final = 10_000
_INT32: Final = 2**31


@dataclass(frozen=True, slots=True)
class Reading:
    """What an object says.

    Attributes:
        record: None when it is none, or none that is known here.
        newer: A newer mixchat wrote it: its version, its kind or one of its keys is unknown here.
    """

    record: Record | None
    newer: bool = False


def to_object(record: Record) -> dict[str, object]:
    """A record as a JSON object, of which `from_object` makes the same again.

    What is no character (half a surrogate pair) becomes U+FFFD; more than 2**20 tokens, or any that is no token's
    number, become none.
    """
    values = {field.name: _plain(getattr(record, field.name)) for field in fields(record)}
    return {"v": VERSION, "kind": _KIND_OF[type(record)], **values}


def from_object(item: object) -> Reading:
    """Read a record. Every key of version 1 must be there and be of its type."""
    match item:
        case {"v": int(version), "kind": str(kind)} if version > VERSION or kind not in _READERS:
            return Reading(None, newer=version >= VERSION)
        case {"v": int(version), "kind": str(kind), **rest} if version == VERSION:
            values = _Values(rest)
            try:
                record = _READERS[kind](values)
            except _NoRecordError:
                return Reading(None)
            return Reading(record, newer=values.unknown)
        case _:
            return Reading(None)


def missing_before(record: Record, dialogue: Dialogue) -> Iterator[Record]:
    """Where records were lost: the turns that must have been there, as `LOST`, before this record can be applied."""
    match record:
        case Answered(turns) | Rewound(turns) | Windowed(turns):
            have = len(dialogue.transcript.turns)
            for after in range(have, min(turns, have + _MOST_LOST)):
                yield Answered(after, LOST)
        case _:
            return


class _NoRecordError(Exception):
    """A key is missing, or its value is of another type."""


class _Values:
    """The values of one object, each taken once."""

    def __init__(self, values: Mapping[object, object]) -> None:
        self._rest = dict(values)
        self._inner: _Values | None = None

    @property
    def unknown(self) -> bool:
        """Whether a key was not asked for."""
        return bool(self._rest) or (self._inner is not None and self._inner.unknown)

    def text(self, key: str) -> str:
        value = self._rest.pop(key, None)
        if not isinstance(value, str):
            raise _NoRecordError
        return without_surrogates(value)

    def number(self, key: str) -> int:
        value = self._rest.pop(key, None)
        if not _is_number(value) or abs(value) >= _INT32:
            raise _NoRecordError
        return value

    def flag(self, key: str) -> bool:
        value = self._rest.pop(key, None)
        if not isinstance(value, bool):
            raise _NoRecordError
        return value

    def tokens(self, key: str) -> tuple[int, ...]:
        value = self._rest.pop(key, None)
        if not isinstance(value, list) or not _are_tokens(value):
            raise _NoRecordError
        return tuple(value)

    def turn(self, key: str) -> Turn:
        value = self._rest.pop(key, None)
        if not isinstance(value, dict):
            raise _NoRecordError
        inner = self._inner = _Values(value)
        return Turn(
            user=inner.text("user"),
            assistant=inner.text("assistant"),
            interrupted=inner.flag("interrupted"),
            thinking=inner.text("thinking"),
            tokens=inner.tokens("tokens"),
            vocabulary=inner.text("vocabulary"),
        )


_READERS: Final[Mapping[str, Callable[[_Values], Record]]] = {
    "model": lambda values: ModelChosen(values.text("name")),
    "system": lambda values: SystemSet(values.text("text")),
    "value": lambda values: ValueSet(values.text("key"), values.text("text")),
    "asked": lambda values: Asked(values.text("text")),
    "answered": lambda values: Answered(values.number("after"), values.turn("turn")),
    "rewound": lambda values: Rewound(values.number("turns")),
    "windowed": lambda values: Windowed(values.number("left_out"), values.text("summary")),
    "forked": lambda values: Forked(values.text("name")),
    "back": lambda values: WentBack(values.text("name")),
    "named": lambda values: Named(values.text("name")),
}
_KIND_OF: Final[Mapping[type[Record], str]] = {
    ModelChosen: "model",
    SystemSet: "system",
    ValueSet: "value",
    Asked: "asked",
    Answered: "answered",
    Rewound: "rewound",
    Windowed: "windowed",
    Forked: "forked",
    WentBack: "back",
    Named: "named",
}


def _plain(value: object) -> object:
    """A value as JSON has it."""
    match value:
        case str():
            return without_surrogates(value)
        case Turn():
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case tuple():
            return list(value) if _are_tokens(value) else []
        case _:
            return value


def _are_tokens(value: tuple[object, ...] | list[object]) -> TypeGuard[Sequence[int]]:
    if set(map(type, value)) - {int} or len(value) > MOST_TOKENS:
        return False
    numbers = cast("Sequence[int]", value)
    return not numbers or (min(numbers) >= 0 and max(numbers) < _INT32)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
