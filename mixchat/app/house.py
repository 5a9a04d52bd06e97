"""What every use case needs to be given.

Knows which outside things there are; refuses to know how they are made: `cli/wiring.py` chooses them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mixchat.engine.port import Engine
from mixchat.models.registry import Registry
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
    """

    places: Places
    registry: Registry
    engine: Engine
    prove: Callable[[], tuple[Proof, bool]]
