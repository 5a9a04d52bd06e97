"""The build proves itself: once per build of llama.cpp and CPU, on a model of 2 MB.

Knows that some builds die at their first prompt or compute nonsense with repacked weights (llama.cpp issue 20824), and
that they live without them; refuses to know how the answer is kept.
"""

import math
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from mixchat.engine.build import build_identity
from mixchat.engine.client import WorkerClient
from mixchat.engine.platform import cpu_identity
from mixchat.errors import EngineError, InUse, OutputError
from mixchat.store.places import Places
from mixchat.store.proofs import Proof, read_proof, write_proof

LOGIT_BOUND = 0.05
"""Largest difference of logits, relative to their spread, that counts as rounding."""


def prove(places: Places, start: Callable[[], WorkerClient]) -> tuple[Proof, bool]:
    """What this build can do on this CPU, tested now unless it is known.

    Args:
        places: Where the answer is kept.
        start: Makes a client with a worker of its own.

    Returns:
        The proof, and whether it is new.

    Raises:
        EngineError: The build does not run at all, with and without extra buffers.
    """
    key = f"{build_identity()}-{cpu_identity()}"
    if known := read_proof(places, key):
        return known, False
    with tempfile.TemporaryDirectory(prefix="mixchat-") as folder:
        path = str(Path(folder, "probe.gguf"))
        proof = _compare(*(_run(start, path, extra_buffers=extra) for extra in (False, True)))
    with suppress(OutputError, InUse):  # on a read-only disk it is tested again next time
        write_proof(places, key, proof)
    return proof, True


def _run(start: Callable[[], WorkerClient], path: str, *, extra_buffers: bool) -> tuple[float, ...] | EngineError:
    with closing(start()) as client:
        try:
            return client.probe(path, extra_buffers=extra_buffers)
        except EngineError as error:
            return error


def _compare(plain: tuple[float, ...] | EngineError, extra: tuple[float, ...] | EngineError) -> Proof:
    if isinstance(plain, EngineError):
        raise EngineError(
            f"This build of llama.cpp does not run on this CPU. {plain.message}",
            "Reinstall it: pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python",
        ) from plain
    if isinstance(extra, EngineError):
        return Proof(extra_buffers=False, reason=extra.message)
    off = _difference(plain, extra)
    if off > LOGIT_BOUND:
        return Proof(extra_buffers=False, reason=f"Its logits are off by {off:.3g} of their spread.")
    return Proof(extra_buffers=True, reason="")


def _difference(plain: tuple[float, ...], extra: tuple[float, ...]) -> float:
    """The largest difference relative to the spread of `plain`; infinite when anything is no number."""
    if not all(map(math.isfinite, plain + extra)):
        return math.inf
    spread = max(plain) - min(plain)
    return max(abs(a - b) for a, b in zip(plain, extra, strict=True)) / spread if spread else math.inf
