"""Reads what the routers of a mixture choose while llama.cpp evaluates a batch.

Knows the nodes of `build_moe_ffn` (llama-graph.cpp) and the eval callback that shows them; refuses to know whose tokens
they are. llama.cpp asks about every node before it is computed, and hands over those that were asked for:

- `ffn_moe_topk-L` (I32) holds the chosen experts of layer L, a row for each token. It is a view of the first columns of
  a sorted row of all experts, so rows are further apart than they are long. It is only remembered when llama.cpp asks,
  and read together with the weights: the experts' matrices need it after them, so that its memory is still its own.
- `ffn_moe_weights-L` (F32) holds their probabilities, and `_softmax`, `_norm` and `_scaled`, where a layer has them,
  what becomes of these, in that order. The last one of a layer is what is applied. Which one that is, is found out in
  the first batch, where all are asked for; later the graph is cut once per layer.

The names and the order of the last layer's nodes are those of any layer, so the computation ends with its weights: its
experts and the head behind it would be computed for nothing.
"""

import ctypes
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mixchat.engine.worker import graphs
from mixchat.engine.worker.bindings import _ggml, llama
from mixchat.errors import EngineError
from mixchat.routing.choices import Choices

_EXPERTS: Final = "ffn_moe_topk"
_WEIGHTS: Final = ("ffn_moe_weights", "ffn_moe_weights_softmax", "ffn_moe_weights_norm", "ffn_moe_weights_scaled")
_KINDS: Final = frozenset((_EXPERTS, *_WEIGHTS))
_F32: Final = 0
_I32: Final = 26
_SIZE: Final = 4
_get_name: Final = _ggml("ggml_get_name", ctypes.c_char_p, ctypes.c_void_p)


class Tensor(ctypes.Structure):
    """The beginning of `ggml_tensor`: its type, and elements and strides in bytes of its four dimensions."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
    )


@dataclass(slots=True)
class _Rows:
    """What one layer's router chose, as it lies in memory.

    Attributes:
        node: The tensor of the chosen experts.
        used: Experts of a token.
        stride: Elements from row to row of `experts`.
    """

    node: int
    used: int = 0
    stride: int = 0
    experts: "array[int]" = field(default_factory=lambda: array("i"))
    weights: "array[float]" = field(default_factory=lambda: array("f"))

    @property
    def count(self) -> int:
        return len(self.weights) // self.used if self.used else 0

    def ordered(self) -> Iterator[tuple[tuple[int, ...], tuple[float, ...]]]:
        """Each token's experts and weights, the largest weight first; equal ones in the router's own order."""
        for row in range(self.count):
            experts = self.experts[row * self.stride : row * self.stride + self.used]
            weights = self.weights[row * self.used : (row + 1) * self.used]
            order = sorted(range(self.used), key=weights.__getitem__, reverse=True)
            yield tuple(experts[i] for i in order), tuple(weights[i] for i in order)


class Taps:
    """An eval callback for one context, and what it has read.

    Args:
        wanted: Layers to read; None: all that have a router.
        last: The model's last layer.

    Attributes:
        callback: For `llama_context_params.cb_eval`; it must live as long as the context.
    """

    def __init__(self, wanted: Collection[int] | None, last: int) -> None:
        self.callback: Any = llama.ggml_backend_sched_eval_callback(self._called)
        self._wanted = wanted
        self._last = last
        self._names: dict[bytes, tuple[str, int] | None] = {}
        self._finals: dict[int, str] = {}
        self._learned = False
        self._read: dict[int, list[_Rows]] = {}
        self._error: Exception | None = None

    def release(self) -> None:
        """After the context's end: let go of the callback, which refers to this object in turn."""
        self.callback = None
        self._read = {}

    def forget(self) -> None:
        """Before a batch: forget what was read of the one before."""
        self._read = {}

    def check(self) -> None:
        """After a batch: raise what went wrong in the callback, where nothing can be raised."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._finals:
            self._last = max(self._finals)
            self._learned = True

    def choices(self, first: int, count: int) -> Iterator[Choices]:
        """What was read of a batch, layer after layer.

        Args:
            first: The position of its first token.
            count: Its tokens.

        Raises:
            EngineError: llama.cpp did not show every token of a layer.
        """
        for layer, parts in sorted(self._read.items()):
            if self._wanted is not None and layer not in self._wanted:
                continue
            seen = sum(rows.count for rows in parts)
            if seen != count:
                raise _unreadable(f"layer {layer} shows {seen} of {count} tokens")
            rows = [row for part in parts for row in part.ordered()]
            experts = tuple(expert for row, _weights in rows for expert in row)
            yield Choices(layer, first, parts[0].used, experts, tuple(weight for _row, each in rows for weight in each))

    def _called(self, node: int, ask: bool, _data: int | None) -> bool:
        """To `ask`: whether the node is to be shown. Else it is computed: whether to go on.

        No exception can pass through C: it is kept, and nothing more is asked for.
        """
        try:
            if self._error is not None:
                return not ask
            kind, layer = self._kind(node)
            return bool(kind) and (self._ask(kind, layer, node) if ask else self._take(kind, layer, node))
        except Exception as error:  # noqa: BLE001 - `check` raises it
            self._error = error
            return not ask

    def _kind(self, node: int) -> tuple[str, int]:
        """A node's kind and layer; the kind is empty when nobody wants to know."""
        name = _get_name(node)
        if name not in self._names:
            kind, _, layer = name.decode("utf-8", "replace").rpartition("-")
            known = kind in _KINDS and layer.isascii() and layer.isdigit()
            self._names[name] = (kind, int(layer)) if known and self._wants(int(layer)) else None
        return self._names[name] or ("", 0)

    def _wants(self, layer: int) -> bool:
        """The last layer is read in any case, to end there."""
        return self._wanted is None or layer in self._wanted or layer == self._last

    def _ask(self, kind: str, layer: int, node: int) -> bool:
        if kind == _EXPERTS:
            self._read.setdefault(layer, []).append(_Rows(node))
            return False
        return not self._learned or self._finals.get(layer) == kind

    def _take(self, kind: str, layer: int, node: int) -> bool:
        """Read a node; whether to go on: not behind the last layer's weights.

        In the first batch these are known by what another layer's were.
        """
        self._finals[layer] = kind
        _fill(self._read[layer][-1], node)
        if layer != self._last:
            return True
        others = (final for other, final in self._finals.items() if other != layer or self._learned)
        return kind != next(others, None)


def _fill(rows: _Rows, weights: int) -> None:
    """Read a layer's experts and weights, wherever they lie.

    Raises:
        EngineError: They are not laid out as this module believes.
    """
    chosen, given = Tensor.from_address(rows.node), Tensor.from_address(weights)
    used, count, apart = chosen.ne[0], chosen.ne[1], chosen.nb[1]
    size = (count - 1) * apart + used * _SIZE if count else 0
    sizes = graphs.nbytes(rows.node), graphs.nbytes(weights)
    if (chosen.type, given.type, *sizes) != (_I32, _F32, size, used * count * _SIZE) or apart % _SIZE:
        raise _unreadable(f"{count} rows of {used} experts take {sizes[0]} bytes, their weights {sizes[1]}")
    rows.used, rows.stride = used, apart // _SIZE
    rows.experts = array("i", graphs.read(rows.node, size))
    rows.weights = array("f", graphs.read(weights, sizes[1]))


def _unreadable(why: str) -> EngineError:
    return EngineError(
        f"This version of llama.cpp does not show its routers' choices as expected: {why}.",
        "Install the version of llama-cpp-python that mixchat was tested with.",
    )
