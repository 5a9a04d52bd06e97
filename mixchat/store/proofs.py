"""What the engine's self-test found, per build of llama.cpp and CPU.

Knows how a result is kept; refuses to know how it is obtained. The file is ours alone: whatever in it is damaged or
unknown counts as not tested.
"""

import json
from dataclasses import asdict, dataclass

from mixchat.store.atomic import write_atomic
from mixchat.store.locks import hold
from mixchat.store.places import Places, ensure_private

_LOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Proof:
    """A result of the self-test.

    Attributes:
        extra_buffers: llama.cpp's repacked copies of weights are safe to use.
        reason: Why not, in one line; empty when they are.
    """

    extra_buffers: bool
    reason: str


def read_proof(places: Places, key: str) -> Proof | None:
    """The result for `key` (a build and a CPU), or None when there is none that can be read."""
    return _proof(_read_all(places).get(key))


def write_proof(places: Places, key: str, proof: Proof) -> None:
    """Keep the result for `key`, and those of other keys.

    Raises:
        OutputError: The file could not be written.
        InUse: Another process held the file for ten seconds.
    """
    ensure_private(places.state)
    with hold(places.state / "engine-proofs.lock", timeout=_LOCK_SECONDS):
        proofs = {**_read_all(places), key: asdict(proof)}
        write_atomic(places.state / "engine-proofs.json", json.dumps(proofs, indent=1).encode())


def _read_all(places: Places) -> dict[str, object]:
    try:
        content: object = json.loads((places.state / "engine-proofs.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _proof(entry: object) -> Proof | None:
    match entry:
        case {"extra_buffers": bool(extra_buffers), "reason": str(reason)}:
            return Proof(extra_buffers, reason)
        case _:
            return None
