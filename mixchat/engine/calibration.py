"""How fast this machine is: each type of weights measured once per build, processor, thread count and device.

Knows what is missing and asks a worker for it; refuses to know how a figure is measured and how it is kept. Whatever
cannot be measured is estimated: nobody's command fails for want of a forecast.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Final

from mixchat.engine.build import build_identity
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import DeviceInfo
from mixchat.engine.platform import cpu_identity
from mixchat.engine.protocol import AskMeasure, Measured
from mixchat.errors import EngineError, InUse, OutputError
from mixchat.plan.forecast import ROUTED
from mixchat.plan.hardware import complete
from mixchat.plan.values import Link, Machine, Rates
from mixchat.store.calibrations import DeviceSpeed, Kept, TypeSpeed, add_calibration, read_calibration
from mixchat.store.places import Places

STREAMED: Final = 256 << 20
"""Bytes that one run of a measurement reads: more than any processor's cache."""

_FLOATS: Final = "F32"
_RETRIES: Final = 2
_CALM: Final = 0.3
_SECONDS: Final = ("node", "latency")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of this machine's speed.

    Attributes:
        cpu: None when it could not be measured.
        extra: With extra buffers; None without them.
        repacked: ggml types that these keep a copy of.
        gpus: Rates and link by device name; only those that could be measured.
    """

    cpu: Rates | None
    extra: Rates | None
    repacked: frozenset[str]
    gpus: Mapping[str, tuple[Rates, Link]]

    def with_rates(self, machine: Machine, speeds: Sequence[float] = ()) -> Machine:
        """The machine with all its rates; what was not measured is estimated, and labelled so.

        Args:
            machine: Without rates.
            speeds: What memory really delivers, where a person says so: of the RAM, then of each GPU, bytes/s.
        """
        devices = [
            replace(device, rates=self.gpus[device.name][0], link=self.gpus[device.name][1])
            if device.name in self.gpus and not device.described
            else device
            for device in machine.devices
        ]
        known = replace(machine, devices=tuple(devices), cpu=self.cpu, cpu_extra=self.extra, repacked=self.repacked)
        return complete(known, speeds)


@dataclass(frozen=True, slots=True)
class _Task:
    """What one device is measured with."""

    places: Places
    client: WorkerClient
    types: tuple[str, ...]
    threads: int


def calibrate(
    places: Places, start: Callable[[], WorkerClient], types: Collection[str], threads: int, extra_buffers: bool
) -> Calibration:
    """Measure what is not known yet, about a second per type and device, and keep it.

    Args:
        places: Where figures are kept; on a read-only disk they are measured again next time.
        start: Makes a client with a worker of its own.
        types: ggml's names of the types of weights that a model has.
        threads: Compute threads of the CPU.
        extra_buffers: This build may use them.
    """
    with closing(start()) as client:
        task = _Task(places, client, tuple(sorted({*types, _FLOATS})), threads)
        try:
            devices = client.devices()
        except EngineError:
            return Calibration(None, None, frozenset(), {})
        cpu = next((device.name for device in devices if device.kind == "cpu"), "CPU")
        plain = _known(task, cpu, _cpu_key(threads), extra_buffers=False)
        repacked = _known(task, cpu, f"{_cpu_key(threads)}-extra", extra_buffers=True) if extra_buffers else Kept()
        gpus = {device.name: _gpu(task, device) for device in devices if device.kind in {"gpu", "igpu"}}
    return _calibration(plain, repacked, gpus)


def _gpu(task: _Task, device: DeviceInfo) -> Kept:
    """A remote device is never measured: what would travel over the network for that takes minutes."""
    if device.remote:
        return Kept()
    return _known(task, device.name, f"{build_identity()}-{device.description}-{device.total}", extra_buffers=False)


def _cpu_key(threads: int) -> str:
    return f"{build_identity()}-{cpu_identity()}-{threads}"


def _known(task: _Task, device: str, key: str, *, extra_buffers: bool) -> Kept:
    """What is kept under a key, after measuring what is missing there; all of it, if that was disturbed and can be."""
    kept = read_calibration(task.places, key)
    again = not kept.quiet and _calm()
    missing = [kind for kind in {*task.types, *kept.types} if again or kind not in kept.types]
    new = Kept()
    with suppress(EngineError):
        if not extra_buffers and (again or kept.device is None):
            told = _ask(task, device, "", extra_buffers=False)
            new = Kept(_device_speed(told), {}, told.quiet)
        for kind in sorted(missing):
            told = _ask(task, device, kind, extra_buffers=extra_buffers)
            new = Kept(new.device, {**new.types, kind: _type_speed(told)}, new.quiet and told.quiet)
    if new != Kept():
        with suppress(OutputError, InUse):
            add_calibration(task.places, key, new)
    return kept.joined(new)


def _calm() -> bool:
    """Whether nothing has kept this machine busy for a minute."""
    return os.getloadavg()[0] < _CALM


def _ask(task: _Task, device: str, weights: str, *, extra_buffers: bool) -> Measured:
    """Measure, again while other processes disturb it; the best of each figure counts."""
    asked = AskMeasure(device, weights, task.threads, extra_buffers, STREAMED)
    best = task.client.measure(asked)
    for _ in range(_RETRIES):
        if best.quiet:
            break
        best = _better(best, task.client.measure(asked))
    return best


def _better(one: Measured, other: Measured) -> Measured:
    """What is faster of two: a neighbour can only slow a measurement down."""
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in Measured.__slots__}
    return Measured(**{name: min(pair) if name in _SECONDS else max(pair) for name, pair in pairs.items()})


def _device_speed(told: Measured) -> DeviceSpeed:
    return DeviceSpeed(told.bandwidth, told.attention, told.node, told.mapped, told.pinned, told.latency)


def _type_speed(told: Measured) -> TypeSpeed | None:
    speed = TypeSpeed(told.decode, told.prefill, told.routed_decode, told.routed_prefill)
    return speed if told.decode else None


def _calibration(plain: Kept, repacked: Kept, gpus: Mapping[str, Kept]) -> Calibration:
    cpu = _rates(plain)
    copied = {kind: speed for kind, speed in repacked.types.items() if speed is not None}
    extra = _rates(Kept(plain.device, {**plain.types, **copied})) if repacked.types else None
    measured = {name: (_rates(kept), _link(kept)) for name, kept in gpus.items()}
    known = {name: (rates, link) for name, (rates, link) in measured.items() if rates and link}
    return Calibration(cpu, extra, frozenset(copied), known)


def _rates(kept: Kept) -> Rates | None:
    speeds = {kind: speed for kind, speed in kept.types.items() if speed is not None and speed.prefill}
    device = kept.device
    if device is None or not (speeds and device.bandwidth and device.attention and device.node):
        return None
    decode = {kind: speed.decode for kind, speed in speeds.items()}
    prefill = {kind: speed.prefill for kind, speed in speeds.items()}
    decode |= {kind + ROUTED: speed.routed_decode for kind, speed in speeds.items() if speed.routed_decode}
    prefill |= {kind + ROUTED: speed.routed_prefill for kind, speed in speeds.items() if speed.routed_prefill}
    return Rates(device.bandwidth, decode, prefill, device.attention, device.node, "measured")


def _link(kept: Kept) -> Link | None:
    if kept.device is None or not kept.device.mapped:
        return None
    return Link(kept.device.mapped, kept.device.pinned, kept.device.latency)
