"""This machine's speed, measured only when that is wanted and not known.

Knows that no worker need start for what is kept; refuses to know how a figure is measured and kept: `calibration` does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mixchat.engine.calibration import Calibration, calibrate
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import DeviceInfo
from mixchat.engine.protocol import AskMeasure, Measured
from mixchat.errors import EngineError
from mixchat.store.places import Places

UNKNOWN = Calibration(None, None, frozenset(), {})
"""Nothing is measured, so that everything is estimated."""


@dataclass(frozen=True, slots=True)
class Need:
    """What is to be known.

    Attributes:
        devices: Asks what llama.cpp names.
        types: ggml's names of the types of weights that a model has.
        threads: Compute threads of the CPU.
        extra_buffers: This build may use them.
    """

    devices: Callable[[], tuple[DeviceInfo, ...]]
    types: frozenset[str]
    threads: int
    extra_buffers: bool


class _Told(WorkerClient):
    """Learns the devices from another worker, so that its own starts at the first measurement."""

    def __init__(self, environ: Mapping[str, str], need: Need) -> None:
        super().__init__(environ)
        self._ask_devices = need.devices

    def devices(self, rpc: Sequence[str] = ()) -> tuple[DeviceInfo, ...]:  # noqa: ARG002 - the other knows
        return self._ask_devices()


class _Idle(_Told):
    """Measures nothing, and notes that it was asked to."""

    asked = False

    def measure(self, asked: AskMeasure) -> Measured:
        self.asked = True
        raise EngineError(f"{asked.device} is not measured now.", "Run: mixchat plan")


def speed_of(places: Places, environ: Mapping[str, str], need: Need, *, measure: bool) -> tuple[Calibration, bool]:
    """What is known of this machine's speed, and whether there is nothing left to measure.

    Args:
        places: Where figures are kept.
        environ: The workers' environment.
        need: What is to be known.
        measure: Measure what is left, about a second per type and device; otherwise, where the type of some weights is
            not measured, nothing counts as known.
    """
    client = _Told(environ, need) if measure else _Idle(environ, need)
    found = calibrate(places, lambda: client, need.types, need.threads, need.extra_buffers)
    if not isinstance(client, _Idle) or not client.asked:
        return found, True
    covered = found.cpu is not None and need.types <= found.cpu.decode.keys()
    return found if covered else UNKNOWN, False
