"""This machine, as the plan wants to know it.

Knows who is asked for devices and memory; refuses to know what is placed there.
"""

from pathlib import Path

from mixchat.app.house import House
from mixchat.engine import platform
from mixchat.engine.events import DeviceInfo
from mixchat.errors import BadModel, DoesNotFit, NotFound
from mixchat.gguf.model import describe
from mixchat.models.finding import Fits
from mixchat.models.shards import read_model
from mixchat.plan.place import place
from mixchat.plan.values import Device, Machine, Wishes


def machine_of(house: House) -> Machine:
    """The devices that llama.cpp can use, and the RAM that is available.

    Raises:
        EngineError: llama.cpp fails.
    """
    return Machine(tuple(_device(info) for info in house.engine.devices()), platform.ram_available())


def fits_here(house: House) -> Fits:
    """A test whether a model file fits this machine with nothing special wished; a damaged one does not."""

    def fits(path: Path) -> bool:
        try:
            place(describe(read_model(path)), machine_of(house), Wishes())
        except (DoesNotFit, BadModel, NotFound):
            return False
        return True

    return fits


def _device(info: DeviceInfo) -> Device:
    return Device(info.name, "gpu" if info.kind == "gpu" else "cpu", info.free, info.total)
