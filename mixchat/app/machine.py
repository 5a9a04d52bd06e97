"""This machine, or one that a person describes, as the plan wants to know it.

Knows who is asked for devices and memory, and what `--vram` and `--ram` make of the answers; refuses to know what is
placed there.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Literal

from mixchat.app.events import Notice
from mixchat.app.house import House
from mixchat.app.wishes import ONLY_CPU, wishes_of
from mixchat.engine import platform
from mixchat.engine.events import DeviceInfo
from mixchat.engine.speed import Need
from mixchat.errors import BadModel, DoesNotFit, NotFound, UsageError
from mixchat.gguf.model import MoeModel, describe
from mixchat.models.finding import Fits
from mixchat.models.shards import read_model
from mixchat.plan.place import place
from mixchat.plan.units import format_bytes
from mixchat.plan.values import Device, Machine
from mixchat.store.settings import Settings, built_in


@dataclass(frozen=True, slots=True)
class Speeds:
    """Where figures of speed come from.

    Attributes:
        given: What memory really delivers, bytes/s, the RAM first, then each GPU.
        measure: Measure what is not known yet; otherwise it is estimated. None: only where there is a GPU, because the
            placement depends on it.
    """

    given: tuple[int, ...] = ()
    measure: bool | None = None


def machine_of(house: House, settings: Settings) -> Machine:
    """The devices that llama.cpp can use and the RAM that is available, each within its budget.

    Raises:
        UsageError: `--vram` does not match the GPUs.
        EngineError: llama.cpp fails, or a machine of `--rpc` does not answer.
    """
    devices = _devices(house, settings)
    sizes = settings.value("vram")
    if sizes is not None:
        devices = _replaced(devices, _budgeted(_wanted(devices, settings), sizes, settings.place("vram")))
    return _machine(devices, settings)


def described_machine(house: House, settings: Settings) -> Machine:
    """The same for a plan: `--vram` beyond the GPUs that are there describes some that are not.

    Raises:
        UsageError: There are more GPUs than sizes.
        EngineError: llama.cpp fails, or a machine of `--rpc` does not answer.
    """
    devices = _devices(house, settings)
    sizes = settings.value("vram") or ()
    wanted = _wanted(devices, settings)
    each = sizes * len(wanted) if len(sizes) == 1 and wanted else sizes
    too_large = any(size > gpu.total for size, gpu in zip(each, wanted, strict=False))
    if not any(each) or not (len(each) > len(wanted) or too_large):
        return machine_of(house, settings)
    described = [
        replace(wanted[index], budget=size)
        if index < len(wanted) and size <= wanted[index].total
        else described_gpu(f"GPU{index}", size)
        for index, size in enumerate(each)
    ]
    return _machine((*described, *(device for device in devices if device.kind == "cpu")), settings)


def described_gpu(name: str, size: int) -> Device:
    """A GPU that is not there."""
    return Device(name, "gpu", size, size, described=True)


def types_of(*models: MoeModel) -> frozenset[str]:
    """The names that ggml gives all the types of weights of some models."""
    parts = (part for model in models for layer in model.layers for part in layer.weights)
    outside = (part for model in models for part in model.outside)
    return frozenset(part.type for part in chain(parts, outside))


def rated(
    house: House, settings: Settings, machine: Machine, types: frozenset[str], how: Speeds | None = None
) -> Generator[Notice, None, Machine]:
    """Say how fast a machine is; tells when that takes a moment.

    Args:
        house: The outside.
        settings: In force.
        machine: Without rates.
        types: Of the weights to be computed.
        how: Where figures come from.
    """
    how = how or Speeds()
    need = _need(house, settings, types)
    found, complete = house.calibrate(need, measure=False)
    if not complete and (bool(machine.gpus) if how.measure is None else how.measure):
        yield Notice(
            "Measuring how fast this machine computes: about a second for each type of weights, kept for next time."
        )
        found, _complete = house.calibrate(need, measure=True)
    return found.with_rates(machine, how.given)


def rated_so_far(house: House, settings: Settings, machine: Machine, types: frozenset[str]) -> Machine:
    """The same without measuring."""
    found, _complete = house.calibrate(_need(house, settings, types), measure=False)
    return found.with_rates(machine)


def _need(house: House, settings: Settings, types: frozenset[str]) -> Need:
    proof, _new = house.prove()
    devices = partial(house.engine.devices, settings.value("rpc") or ())
    return Need(devices, types, settings.value("threads") or platform.physical_cores(), proof.extra_buffers)


def fits_here(house: House, settings: Settings | None = None) -> Fits:
    """A test whether a model file fits this machine with what the settings wish; a damaged one does not."""
    chosen = settings or built_in()
    machine = cache(lambda: machine_of(house, chosen))

    def fits(path: Path) -> bool:
        try:
            place(describe(read_model(path)), machine(), wishes_of(chosen))
        except (DoesNotFit, BadModel, NotFound):
            return False
        return True

    return fits


def _machine(devices: Sequence[Device], settings: Settings) -> Machine:
    ram = settings.value("ram")
    return Machine(tuple(devices), platform.ram_available() if ram is None else ram)


def _devices(house: House, settings: Settings) -> tuple[Device, ...]:
    found = house.engine.devices(settings.value("rpc") or ())
    return tuple(_device(info) for info in found if info.kind != "accel")


def _device(info: DeviceInfo) -> Device:
    kind: Literal["gpu", "cpu"] = "cpu" if info.kind == "cpu" else "gpu"
    return Device(info.name, kind, info.free, info.total, unified=info.unified, remote=info.remote)


def _wanted(devices: Sequence[Device], settings: Settings) -> tuple[Device, ...]:
    """The GPUs that may be used, in the order in which `--vram` counts them."""
    gpus = [device for device in devices if device.kind == "gpu"]
    names = wishes_of(settings).devices
    if names is None or names == ONLY_CPU:
        return tuple(gpus)
    by_name = {gpu.name.lower(): gpu for gpu in gpus}
    return tuple(by_name[name.lower()] for name in names if name.lower() in by_name)


def _budgeted(gpus: Sequence[Device], sizes: tuple[int, ...], where: str) -> tuple[Device, ...]:
    if not any(sizes) and not gpus:
        return ()
    budgets = sizes * len(gpus) if len(sizes) == 1 else sizes
    if len(budgets) != len(gpus) or not gpus:
        given = ",".join(format_bytes(size).replace(" ", "") for size in sizes)
        there = f"the GPUs are {', '.join(gpu.name for gpu in gpus)}" if gpus else "llama.cpp has no GPU here"
        raise UsageError(
            f"{where} {given}: {there}.",
            "Give one size for each, or one for all." if gpus else "To plan for a GPU all the same: mixchat plan",
        )
    return tuple(replace(gpu, budget=size) for gpu, size in zip(gpus, budgets, strict=True))


def _replaced(devices: Sequence[Device], news: Sequence[Device]) -> tuple[Device, ...]:
    by_name = {new.name: new for new in news}
    return tuple(by_name.get(device.name, device) for device in devices)
