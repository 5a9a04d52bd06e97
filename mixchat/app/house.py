"""What every use case needs to be given.

Knows which outside things there are; refuses to know how they are made: `cli/wiring.py` chooses them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mixchat.engine.port import Engine
from mixchat.models.hub import Hub
from mixchat.models.registry import Registry
from mixchat.store.locks import Uses
from mixchat.store.places import Places
from mixchat.store.proofs import Proof


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
    """

    places: Places
    registry: Registry
    engine: Engine
    prove: Callable[[], tuple[Proof, bool]]
    hub: Hub = field(default_factory=lambda: Hub(offline=True))
    cache: Path | None = None
    uses: Uses = field(default_factory=Uses)
