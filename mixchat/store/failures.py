"""Which placements ran out of memory before, so that the next start does not run into it again.

Knows how the memory of a failure is kept and when it ends; refuses to know how a placement is made. The file is ours
alone: whatever in it is damaged or unknown counts as no failure.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from mixchat.store.atomic import write_atomic
from mixchat.store.locks import hold
from mixchat.store.moments import parse_moment
from mixchat.store.places import Places, ensure_private

KEPT: Final = timedelta(days=30)
"""After this a failure is forgotten: drivers and other programs change."""

_MOST: Final = 200
_MOST_LAYERS: Final = 512
_LOCK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was loaded, as far as its memory depends on it.

    Attributes:
        file: The model file, as `identity_of` names it.
        context: Tokens.
        kv_type: Type of the KV cache.
        conditions: The GPUs, each with its memory, and what was fixed by hand.
    """

    file: str
    context: int
    kv_type: str
    conditions: str


def identity_of(path: Path) -> str:
    """A name that changes when the file does: path, bytes and time of the last change.

    Raises:
        FileNotFoundError: It is gone.
    """
    stat = path.stat()
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"


def held_back(places: Places, attempt: Attempt, now: datetime) -> int:
    """Layers whose experts had to move to RAM before this could be loaded; 0 when nothing is known."""
    return next((layers for known, layers, _when in _valid(places, now) if known == attempt), 0)


def remember(places: Places, attempt: Attempt, layers: int, now: datetime) -> None:
    """Keep what worked, for 30 days; of others the newest 200.

    Raises:
        OutputError: The file could not be written.
        InUse: Another process held the file for ten seconds.
    """
    ensure_private(places.state)
    with hold(places.state / "placement-failures.lock", timeout=_LOCK_SECONDS):
        others = [item for item in _valid(places, now) if item[0] != attempt]
        items = [*others, (attempt, layers, now)][-_MOST:]
        lines = [{**asdict(known), "layers": count, "when": when.isoformat()} for known, count, when in items]
        write_atomic(_path(places), json.dumps(lines, indent=1).encode())


def _path(places: Places) -> Path:
    return places.state / "placement-failures.json"


def _valid(places: Places, now: datetime) -> Iterator[tuple[Attempt, int, datetime]]:
    """What can be read and is not too old."""
    try:
        content: object = json.loads(_path(places).read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    for item in content if isinstance(content, list) else ():
        found = _item(item)
        if found is not None and now - KEPT <= found[2] <= now:
            yield found


def _item(item: object) -> tuple[Attempt, int, datetime] | None:
    match item:
        case {
            "file": str(file),
            "context": int(context),
            "kv_type": str(kv_type),
            "conditions": str(conditions),
            "layers": int(layers),
            "when": str(when),
        } if 0 < layers <= _MOST_LAYERS:
            moment = parse_moment(when)
            return None if moment is None else (Attempt(file, context, kv_type, conditions), layers, moment)
        case _:
            return None
