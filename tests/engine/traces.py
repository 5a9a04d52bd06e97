"""Small steps of the tests that trace routers."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np  # noqa: TID253 - tests may

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest, Prefilling, TraceRequest
from mixchat.routing.choices import Choices
from tests.engine.numpy_moe import Routing, Shape, random_weights, write

Seen = dict[int, tuple[tuple[int, ...], tuple[float, ...]]]


def load(client: WorkerClient, path: Path, **fields: object) -> None:
    """Load a model for a chat of 256 tokens."""
    plain = {"context": 256, "threads": 2, "read_ahead": False, **fields}
    list(client.load(LoadRequest(str(path), **plain)))  # type: ignore[arg-type]


def model(folder: Path, shape: Shape) -> Path:
    """A file with random weights."""
    return write(folder / "model.gguf", shape, random_weights(shape))


def traced(client: WorkerClient, tokens: Iterable[int], layers: tuple[int, ...] | None = None) -> list[Choices]:
    """All choices; the progress must be whole."""
    asked = tuple(tokens)
    events = list(client.trace(TraceRequest(asked, layers)))
    progress = [event.done for event in events if isinstance(event, Prefilling)]
    assert progress[0] == 0
    assert progress[-1] == len(asked)
    assert progress == sorted(progress)
    return [event for event in events if isinstance(event, Choices)]


def by_layer(found: Iterable[Choices]) -> Seen:
    """Experts and weights of each layer, all tokens in order and none left out."""
    seen: Seen = {}
    for each in found:
        experts, weights = seen.get(each.layer, ((), ()))
        assert each.first * each.used == len(experts)
        seen[each.layer] = (experts + each.experts, weights + each.weights)
    return seen


def check(seen: Seen, expected: dict[int, Routing], scale: float = 1.0, apart: float = 2e-3) -> None:
    """The same layers, experts and weights as numpy's; near ties are compared by their weights alone.

    Kernels round differently: flash attention computes small batches in halves.
    """
    assert sorted(seen) == sorted(expected)
    for layer, routing in expected.items():
        experts = np.array(seen[layer][0]).reshape(routing.experts.shape)
        weights = np.array(seen[layer][1]).reshape(routing.weights.shape)
        assert np.abs(weights - routing.weights).max() <= apart * scale
        gaps = -np.diff(routing.weights, axis=1).max(axis=1, initial=-1.0)
        clear = (routing.margin > 2 * apart) & (gaps > 2 * apart * scale)
        assert clear.mean() > 0.5
        assert (experts == routing.experts)[clear].all()
