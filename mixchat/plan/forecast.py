"""How fast a placement will be: arithmetic on bytes and rates.

Knows what decoding and prefill do on each device, step by step; refuses to know who measured the rates, and to choose.

The formula is that of offloading experts (compared with measurements in llama.cpp's PR 4553 and PR 20978), told by ggml
type:

    decode  = sum of bytes / rate(type) + steps x node + cached tokens / attention rate + hand-overs
    prefill = for a batch of n tokens: n x bytes / batch rate(type), plus bytes / link where a GPU fetches them from RAM

A step is what all threads wait for each other after, or a kernel's launch. Of the 47 nodes that llama.cpp's graph has
for one of Mixtral's layers 26 compute, of a dense layer's 31 17; the others only look at tensors differently. A product
with a matrix takes two steps, because its input is quantized first, and so does attention over a cache.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, Literal

from mixchat.gguf.model import MoeModel, Weights
from mixchat.plan.values import CPU, Basis, Forecast, KvType, Link, LoadMode, Machine, Plan, Rates

ROUTED: Final = "/routed"
"""After a type's name in `Rates`: of experts, which llama.cpp computes with other kernels than single matrices."""

OFFLOAD_BATCH: Final = 32
"""Tokens of a batch from which on a GPU fetches weights from RAM (llama.cpp's `GGML_OP_OFFLOAD_MIN_BATCH`)."""

_ATTENTION_STEPS: Final = 16
_DENSE_STEPS: Final = 9
_ROUTER_STEPS: Final = 9
_PART_STEPS: Final = {"up": 2, "gate": 3, "down": 3}
_HEAD_STEPS: Final = 3
_NEAR: Final = 0.7
_FLOAT: Final = 4
_BASES: Final[tuple[Basis, ...]] = ("measured", "given", "estimated")

_NO_LINK: Final = Link(float("inf"), float("inf"), 0.0)

Kind = Literal["experts", "weights", "gpu", "attention", "steps", "handovers"]
_WORDS: Final[dict[Kind, str]] = {
    "experts": "experts on the CPU",
    "weights": "other weights on the CPU",
    "gpu": "weights on the GPU",
    "attention": "attention over the context",
    "steps": "steps of the graph",
    "handovers": "hand-overs between devices",
}
_BOUND: Final[dict[Kind, str]] = _WORDS | {"gpu": "GPU memory", "steps": "overhead of many small steps"}


@dataclass(frozen=True, slots=True)
class _Load:
    """What besides a layer's devices decides what it costs: as in Plan; `gpu` fetches weights from RAM in prefill."""

    extra: bool
    ubatch: int
    mode: LoadMode
    gpu: str | None


@dataclass(slots=True)
class _Cost:
    """Seconds of decoding a token by kind, of a batch's prefill, and of plainly reading what the CPU decodes."""

    decode: dict[Kind, float] = field(default_factory=lambda: dict.fromkeys(_WORDS, 0.0))
    prefill: float = 0.0
    reading: float = 0.0


class Costs:
    """What a model's layers and head cost on each of a machine's devices: made once, asked for many placements.

    Args:
        model: Bytes by type.
        machine: Rates of its devices.
        kv_type: Of the KV cache; attention's rate is that of f16 whatever it is.
        depth: Tokens in the cache while decoding.
    """

    def __init__(self, model: MoeModel, machine: Machine, kv_type: KvType, depth: int) -> None:
        self._model = model
        self._machine = machine
        self._kv_type = kv_type
        self._depth = depth
        self._used = model.n_experts_used
        self._gpus = {device.name: device for device in machine.gpus}
        heads = [count if cached else 0 for count, cached in zip(model.heads, model.kv_heads, strict=True)]
        last = model.n_layers - 1
        kinds = [(layer.weights, count, layer.index == last) for layer, count in zip(model.layers, heads, strict=True)]
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
        self._kinds = list(numbers)
        self._kind_of = [numbers[kind] for kind in kinds]
        self._known: dict[tuple[_Load, tuple[int, str, str, str, str]], _Cost] = {}

    def forecast(self, draft: Plan) -> Forecast | None:
        """How fast the draft's placement is; None when nobody knows how fast a device of it is.

        Layers with the same weights on the same devices cost the same: they are counted, and costed once.
        """
        load = _Load(draft.extra_buffers, draft.ubatch, draft.load_mode, self._fetching(draft))
        ways = Counter(
            (kind, layer.attention, layer.up, layer.gate, layer.down)
            for kind, layer in zip(self._kind_of, draft.layers, strict=True)
        )
        rates = [self._rates(name, load) for name in {draft.head}.union(*(way[1:] for way in ways))]
        known = [each for each in rates if each is not None]
        if len(known) < len(rates):
            return None
        costs = [(self._layer(load, way), count) for way, count in ways.items()]
        costs += [(self._head(load, draft.head), 1), (self._boundaries(load, draft), 1)]
        basis = max((each.basis for each in known), key=_BASES.index)
        return self._total(costs, draft, basis)

    def _total(self, costs: list[tuple[_Cost, int]], draft: Plan, basis: Basis) -> Forecast:
        decode: dict[Kind, float] = {kind: sum(cost.decode[kind] * count for cost, count in costs) for kind in _WORDS}
        most = max(decode, key=lambda kind: decode[kind])
        bound = _BOUND[most]
        if most in {"experts", "weights"}:
            reading = sum(cost.reading * count for cost, count in costs)
            near = reading > _NEAR * (decode["experts"] + decode["weights"])
            bound = f"RAM reading of {most}" if near else "CPU kernels"
        return Forecast(
            decode_tps=1 / sum(decode.values()),
            prefill_tps=draft.ubatch / sum(cost.prefill * count for cost, count in costs),
            depth=self._depth,
            bound_by=bound,
            basis=basis,
            parts=tuple((_WORDS[kind], 1000 * seconds) for kind, seconds in decode.items() if seconds),
        )

    def _layer(self, load: _Load, way: tuple[int, str, str, str, str]) -> _Cost:
        """One layer: its weights where each lies, attention where its cache lies, steps, and changes of device."""
        if (load, way) in self._known:
            return self._known[load, way]
        number, attention, *parts = way
        weights, heads, last = self._kinds[number]
        cost = self._known[load, way] = _Cost()
        devices = dict(zip(_PART_STEPS, parts, strict=True))
        steps = _ATTENTION_STEPS + _DENSE_STEPS
        for each in weights:
            if each.part == "dense":
                self._add_weights(cost, load, each, attention)
                continue
            steps = _ATTENTION_STEPS + _ROUTER_STEPS + self._used
            self._add_weights(cost, _one_token(load) if last else load, each, devices.get(each.part, parts[0]))
        self._add_attention(cost, load, attention, heads)
        self._add_steps(cost, load, attention, steps)
        if any(each.part != "dense" for each in weights):
            for part, device in devices.items():
                self._add_steps(cost, load, device, _PART_STEPS[part])
            self._add_changes(cost, load, Counter(pairwise((attention, *parts, attention))))
        return cost

    def _head(self, load: _Load, device: str) -> _Cost:
        """The head, a tied one being the token embedding; of a batch one token's logits are wanted."""
        cost, one = _Cost(), _one_token(load)
        part = "token_embd" if self._model.tied else "output"
        for each in self._model.outside:
            if each.part in {part, "other"}:
                self._add_weights(cost, one, each, device)
        self._add_steps(cost, one, device, _HEAD_STEPS)
        return cost

    def _boundaries(self, load: _Load, draft: Plan) -> _Cost:
        """Changes of device from the token embedding through the layers to the head, and of the logits back."""
        cost = _Cost()
        path = (CPU, *(layer.attention for layer in draft.layers), draft.head, CPU)
        self._add_changes(cost, load, Counter(pairwise(path)))
        return cost

    def _add_weights(self, cost: _Cost, load: _Load, weights: Weights, device: str) -> None:
        """Matrices of one type: in a batch every expert is read at least once."""
        routed = weights.part in {"up", "gate", "gate_up", "down"}
        nbytes = weights.nbytes * (self._used / self._model.n_experts if routed else 1)
        rates = self._known_rates(device, load)
        seconds = nbytes / _rate(rates.decode, weights.type, routed=routed)
        cost.decode[("experts" if routed else "weights") if device not in self._gpus else "gpu"] += seconds
        if device not in self._gpus:
            cost.reading += nbytes / rates.bandwidth
            fetching = None if load.extra and weights.type in self._machine.repacked else load.gpu
            if fetching is not None:
                rates = self._known_rates(fetching, load)
                link = self._link(fetching)
                cost.prefill += weights.nbytes / (link.pinned if load.mode == "copy" else link.mapped)
        batch = load.ubatch * nbytes / _rate(rates.prefill, weights.type, routed=routed)
        read = min(weights.nbytes, load.ubatch * nbytes) / _rate(rates.decode, weights.type, routed=routed)
        cost.prefill += max(batch, read)

    def _add_attention(self, cost: _Cost, load: _Load, device: str, heads: int) -> None:
        """Multiply-adds of queries with keys, and of their weights with values; a batch sees half of itself."""
        each = heads * (self._model.key_length + self._model.value_length) / self._known_rates(device, load).attention
        cost.decode["attention"] += each * self._depth
        cost.prefill += each * load.ubatch * load.ubatch / 2

    def _add_steps(self, cost: _Cost, load: _Load, device: str, steps: int) -> None:
        seconds = steps * self._known_rates(device, load).node
        cost.decode["steps"] += seconds
        cost.prefill += seconds

    def _add_changes(self, cost: _Cost, load: _Load, path: Counter[tuple[str, str]]) -> None:
        """Activations that go from one device to another; between two GPUs the slower link counts."""
        for ends, count in path.items():
            links = [self._link(name) for name in ends if name in self._gpus] if ends[0] != ends[1] else []
            if links:
                latency = max(link.latency for link in links)
                batch = load.ubatch * self._model.width * _FLOAT / min(link.pinned for link in links)
                cost.decode["handovers"] += count * latency
                cost.prefill += count * (latency + batch)

    def _rates(self, device: str, load: _Load) -> Rates | None:
        if device in self._gpus:
            return self._gpus[device].rates
        return self._machine.cpu_extra if load.extra and self._machine.cpu_extra else self._machine.cpu

    def _known_rates(self, device: str, load: _Load) -> Rates:
        rates = self._rates(device, load)
        assert rates is not None  # noqa: S101 - `forecast` looked
        return rates

    def _link(self, gpu: str) -> Link:
        return self._gpus[gpu].link or _NO_LINK

    def _fetching(self, draft: Plan) -> str | None:
        """The GPU that fetches weights from RAM for a batch: the first, unless it is remote or shares the RAM."""
        first = self._gpus.get(draft.devices[0]) if draft.devices and draft.ubatch >= OFFLOAD_BATCH else None
        if first is None or first.remote or first.unified or first.rates is None:
            return None
        return first.name


def _rate(rates: Mapping[str, float], kind: str, *, routed: bool = False) -> float:
    """A type's rate; that of experts where there is one; of a type that is not there the slowest."""
    found = (rates.get(kind + ROUTED) if routed else None) or rates.get(kind)
    return found or min(rates.values())


def _one_token(load: _Load) -> _Load:
    """The end of a batch: after the last layer's attention llama.cpp goes on with the token whose logits are wanted."""
    return replace(load, ubatch=1, gpu=None)
