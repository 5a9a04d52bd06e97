"""What every use case needs to be given.

Knows which outside things there are; refuses to know how they are made: `cli/wiring.py` chooses them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from mixchat.engine.calibration import Calibration
from mixchat.engine.port import Engine
from mixchat.engine.speed import UNKNOWN, Need
from mixchat.models.hub import Hub
from mixchat.models.registry import Registry
from mixchat.store.locks import Uses
from mixchat.store.places import Places
from mixchat.store.proofs import Proof


class Calibrate(Protocol):
    """Tells how fast this machine is."""

    def __call__(self, need: Need, *, measure: bool) -> tuple[Calibration, bool]:
        """What is known of a machine's speed, and whether there is nothing left to measure."""


def _estimate(need: Need, *, measure: bool) -> tuple[Calibration, bool]:  # noqa: ARG001 - nothing is needed
    return UNKNOWN, True


@dataclass(frozen=True, slots=True)
class House:
    """The outside of the use cases.

    Attributes:
        places: Where files are kept.
        registry: The known models.
        engine: What runs a model.
        prove: What this build of llama.cpp can do on this CPU, and whether that was found out just now.
        hub: Where models are fetched from; without one there is no network.
        cache: Where the hub's own library keeps what it downloaded; read only.
        uses: Marks the file of the model that is loaded, so that `rm` leaves it alone.
        now: The clock.
        calibrate: Tells how fast this machine is; by default everything is estimated.
    """

    places: Places
    registry: Registry
    engine: Engine
    prove: Callable[[], tuple[Proof, bool]]
    hub: Hub = field(default_factory=lambda: Hub(offline=True))
    cache: Path | None = None
    uses: Uses = field(default_factory=Uses)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    calibrate: Calibrate = _estimate
