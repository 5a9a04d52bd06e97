"""What was measured of this machine's devices, per build of llama.cpp, processor, thread count and device.

Knows how figures are kept; refuses to know how they are measured and what they mean together. The file is ours alone:
whatever in it is damaged counts as not measured.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from mixchat.store.atomic import write_atomic
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_private

_LOCK_SECONDS = 10.0
_FILE = "calibrations.json"
_MOST = 32

_Speed = TypeVar("_Speed", "TypeSpeed", "DeviceSpeed")


@dataclass(frozen=True, slots=True)
class TypeSpeed:
    """One type of weights: bytes/s at one token, bytes/s times tokens in a batch; both of experts too."""

    decode: float
    prefill: float
    routed_decode: float
    routed_prefill: float


@dataclass(frozen=True, slots=True)
class DeviceSpeed:
    """Figures as in `plan.values.Rates` and `Link`; 0 where the device gave none."""

    bandwidth: float
    attention: float
    node: float
    mapped: float
    pinned: float
    latency: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known under one key.

    Attributes:
        device: None when not measured.
        types: By ggml's name; None where the device or its kind of buffer does not take that type.
        quiet: No other process was busy meanwhile.
    """

    device: DeviceSpeed | None = None
    types: Mapping[str, TypeSpeed | None] = field(default_factory=dict)
    quiet: bool = True

    def joined(self, newer: "Kept") -> "Kept":
        """This and what was measured later; where that replaces everything, only that was quiet or not."""
        replaced = self.types.keys() <= newer.types.keys() and (newer.device is not None or self.device is None)
        quiet = newer.quiet and (replaced or self.quiet)
        return Kept(newer.device or self.device, {**self.types, **newer.types}, quiet)


def read_calibration(places: Places, key: str) -> Kept:
    """What is known under `key`; nothing when there is nothing that can be read."""
    return _kept(_read_all(places).get(key))


def add_calibration(places: Places, key: str, kept: Kept) -> None:
    """Keep `kept` besides what is known under `key` and other keys; the newest 32 keys stay.

    Raises:
        OutputError: The file could not be written.
        InUse: Another process held the file for ten seconds.
    """
    ensure_private(places.state)
    with hold(places.state / "calibrations.lock", timeout=_LOCK_SECONDS):
        known = _read_all(places)
        before = _kept(known.pop(key, None))
        known[key] = asdict(before.joined(kept))
        newest = dict(list(known.items())[-_MOST:])
        write_atomic(places.state / _FILE, json.dumps(newest, indent=1).encode())


def _read_all(places: Places) -> dict[str, object]:
    try:
        content: object = json.loads((places.state / _FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _kept(entry: object) -> Kept:
    match entry:
        case {"device": device, "types": dict(types), "quiet": bool(quiet)}:
            speeds = {kind: _speed(TypeSpeed, speed) for kind, speed in types.items()}
            sound = {kind: speed for kind, speed in speeds.items() if speed is not None or types[kind] is None}
            return Kept(_speed(DeviceSpeed, device), sound, quiet)
        case _:
            return Kept()


def _speed(cls: type[_Speed], entry: object) -> _Speed | None:
    """A measurement, when all its figures are there and none is negative or infinite."""
    names = cls.__slots__
    if not isinstance(entry, dict) or entry.keys() != set(names):
        return None
    figures = [entry[name] for name in names]
    if all(isinstance(figure, int | float) and math.isfinite(figure) and figure >= 0 for figure in figures):
        return cls(*figures)
    return None
