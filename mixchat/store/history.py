"""Every benchmark of this machine, one JSON line each.

Knows how the lines are kept and which belong together; refuses to know what a figure means. Lines that are damaged or
of another form are passed over and kept as they are.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from mixchat.store.atomic import write_atomic
from mixchat.store.locks import hold
from mixchat.store.moments import parse_moment
from mixchat.store.places import Places, ensure_private

_MOST: Final = 1000
_LOCK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """One benchmark.

    Attributes:
        when: Its time, with a time zone.
        build: llama.cpp's build and the CPU.
        model: Name, quantization and bytes of the model.
        placement: Where it lay and with which context, in a line.
        figures: Medians by what was measured, in tokens per second.
    """

    when: datetime
    build: str
    model: str
    placement: str
    figures: Mapping[str, float]

    def like(self, other: "Record") -> bool:
        """Whether both measured the same model in the same place with the same build."""
        return (self.build, self.model, self.placement) == (other.build, other.model, other.placement)


def earlier(places: Places, record: Record, most: int) -> tuple[Record, ...]:
    """The last records that are like this one, oldest first."""
    found = [each for each in map(_parsed, _lines(places)) if each is not None and each.like(record)]
    return tuple(found[-most:])


def append(places: Places, record: Record) -> None:
    """Keep a record behind the others; the file holds the newest 1000.

    Raises:
        OutputError: The file could not be written.
        InUse: Another process held the file for ten seconds.
    """
    ensure_private(places.state)
    with hold(places.state / "bench-history.lock", timeout=_LOCK_SECONDS):
        lines = [*_lines(places), _line(record)][-_MOST:]
        write_atomic(_path(places), b"".join(line + b"\n" for line in lines))


def _path(places: Places) -> Path:
    return places.state / "bench-history.jsonl"


def _lines(places: Places) -> Iterator[bytes]:
    try:
        content = _path(places).read_bytes()
    except OSError:
        return
    yield from (line for line in content.split(b"\n") if line.strip())


def _line(record: Record) -> bytes:
    facts = {
        "date": record.when.isoformat(timespec="seconds"),
        "build": record.build,
        "model": record.model,
        "placement": record.placement,
        "figures": {name: round(figure, 3) for name, figure in record.figures.items()},
    }
    return json.dumps(facts).encode()


def _parsed(line: bytes) -> Record | None:
    try:
        facts: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match facts:
        case {
            "date": str(date),
            "build": str(build),
            "model": str(model),
            "placement": str(placement),
            "figures": dict(figures),
        }:
            when = parse_moment(date)
            return None if when is None else Record(when, build, model, placement, dict(_numbers(figures)))
        case _:
            return None


def _numbers(figures: Mapping[object, object]) -> Iterator[tuple[str, float]]:
    for name, figure in figures.items():
        if isinstance(figure, int | float) and math.isfinite(figure) and figure > 0:
            yield str(name), float(figure)
