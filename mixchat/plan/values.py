"""The values that a plan is made from and made of.

Knows a machine's memory and speed, a person's wishes and where a model will lie; refuses to know who measured the
machine and who loads the model. Every size is in bytes, every context in tokens, every time in seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

KvType = Literal["f16", "q8_0", "q4_0"]
LoadMode = Literal["mmap", "copy", "mlock"]
Basis = Literal["measured", "estimated", "given"]
Part = Literal["up", "gate", "down"]

CPU = "CPU"
"""The name that a plan gives to the processor and its RAM."""

GPU_MARGIN = 1 << 30
"""Bytes that stay free on every GPU by default, for its driver and for what the arithmetic does not see."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast one device computes.

    A matrix of type T with b bytes takes `b / decode[T]` seconds for one token and `n * b / prefill[T]` for a batch of
    n tokens, never less than its decoding; a type that is not there takes the slowest rate that is.

    Attributes:
        bandwidth: Plain reading of its memory, bytes/s.
        decode: Bytes/s of weights by ggml type, one token at a time.
        prefill: Bytes/s times tokens by ggml type, in a batch of 512.
        attention: Multiply-adds per second of attention over cached tokens in f16.
        node: Seconds of one node of llama.cpp's graph besides its bytes: a barrier, a kernel's launch.
        basis: Where the figures come from.
    """

    bandwidth: float
    decode: Mapping[str, float]
    prefill: Mapping[str, float]
    attention: float
    node: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Device:
    """A device that llama.cpp can compute on.

    Attributes:
        name: llama.cpp's name, such as `CUDA0`.
        kind: A GPU has memory of its own, or (`unified`) a share of the machine's.
        free: Memory that is free now.
        total: All its memory.
        budget: The most that may be used of it; None: all that is free but the margin.
        unified: It computes in the RAM that the CPU uses too (integrated GPUs, Apple silicon).
        remote: It is reached over RPC.
        described: There is no such device; a person wants to know what it would do.
        rates: How fast it is; None: nobody knows.
        link: Bytes/s from RAM to it, and seconds of one hand-over of activations.
    """

    name: str
    kind: Literal["gpu", "cpu"]
    free: int
    total: int
    budget: int | None = None
    unified: bool = False
    remote: bool = False
    described: bool = False
    rates: Rates | None = None
    link: "Link | None" = None


@dataclass(frozen=True, slots=True)
class Link:
    """The way between RAM and a device: bytes/s of mapped weights, of copied (pinned) ones, seconds of a hand-over."""

    mapped: float
    pinned: float
    latency: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to run on.

    Attributes:
        devices: What llama.cpp names, the CPU among them.
        ram_available: RAM that a process may still take.
        cpu: How fast the CPU is with plain weights; None: nobody knows.
        cpu_extra: With llama.cpp's extra buffers (repacked weights).
        repacked: ggml types that extra buffers keep a copy of.
    """

    devices: tuple[Device, ...]
    ram_available: int
    cpu: Rates | None = None
    cpu_extra: Rates | None = None
    repacked: frozenset[str] = frozenset()

    @property
    def gpus(self) -> tuple[Device, ...]:
        """The devices that are no CPU, in llama.cpp's order."""
        return tuple(device for device in self.devices if device.kind == "gpu")


@dataclass(frozen=True, slots=True)
class Override:
    """Tensors whose name a pattern matches (`std::regex_search`) go to a device; the first that matches counts."""

    pattern: str
    device: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person asked for; None leaves it to the plan.

    Attributes:
        context: Tokens.
        kv_type: Type of the KV cache.
        ubatch: Tokens of one physical prefill batch.
        load_mode: How weights come into memory.
        devices: Names of the devices to use; `("cpu",)` leaves the GPUs alone.
        gpu_layers: Whole layers on the GPUs, the last ones and the head first, as llama.cpp counts.
        expert_layers: Layers whose experts live in VRAM.
        overrides: Of the person's own; they come before the plan's.
        extra_buffers: False where this build of llama.cpp failed its self test.
        margin: Bytes that stay free on every GPU.
        held_back: Layers whose experts an earlier allocation failure moved to RAM.
        experts_used: Experts that each token passes.
        trace: Tokens of a text of which the routers' choices are wanted; there must be room for a second context.
        force: Go on although it does not fit.
    """

    context: int | None = None
    kv_type: KvType | None = None
    ubatch: int | None = None
    load_mode: LoadMode | None = None
    devices: tuple[str, ...] | None = None
    gpu_layers: int | None = None
    expert_layers: int | None = None
    overrides: tuple[Override, ...] = ()
    extra_buffers: bool = True
    margin: int = GPU_MARGIN
    held_back: int = 0
    experts_used: int | None = None
    trace: int = 0
    force: bool = False


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a device gives to weights, the KV cache, compute buffers, and extra buffers' private copies.

    `trace` is all that a second context takes while it traces the routers' choices; it is free before and afterwards.
    """

    weights: int = 0
    kv: int = 0
    compute: int = 0
    copies: int = 0
    trace: int = 0

    @property
    def total(self) -> int:
        """All its bytes."""
        return self.weights + self.kv + self.compute + self.copies + self.trace


@dataclass(frozen=True, slots=True)
class Share:
    """What a device gets.

    Attributes:
        device: Its name.
        kind: `cpu` is RAM.
        budget: Bytes that may be used of it.
        footprint: Bytes that are.
    """

    device: str
    kind: Literal["gpu", "cpu"]
    budget: int
    footprint: Footprint


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one layer lies, by device name.

    Attributes:
        index: Counted from 0.
        attention: Everything but routed experts, and its KV cache.
        up, gate, down: Its routed experts' tensors; of a dense model as `attention`.
    """

    index: int
    attention: str
    up: str
    gate: str
    down: str

    @property
    def experts(self) -> str | None:
        """The one device of all its routed experts; None when they are split."""
        return self.up if self.up == self.gate == self.down else None


@dataclass(frozen=True, slots=True)
class Forecast:
    """How fast a placement will be.

    Attributes:
        decode_tps: Tokens per second of answer, after `depth` tokens.
        prefill_tps: Tokens per second of a prompt that fills whole ubatches.
        depth: Tokens in the KV cache while decoding.
        bound_by: What most of decoding's time goes to, in words.
        basis: Where the figures come from; the weakest of all that it rests on.
        parts: Decoding's milliseconds per token by what takes them, in words; they add up.
    """

    decode_tps: float
    prefill_tps: float
    depth: int
    bound_by: str
    basis: Basis
    parts: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model will be loaded.

    Attributes:
        context: Tokens of KV cache, a multiple of 256.
        kv_type: Type of the KV cache.
        ubatch: Tokens of one physical prefill batch.
        load_mode: How weights come into memory.
        extra_buffers: llama.cpp may keep repacked private copies of the CPU's weights.
        layers: Where each layer lies.
        head: Device of the head (and the last norm).
        devices: Names of the devices that llama.cpp is given, in order; none: the CPU alone.
        n_gpu_layers: As llama.cpp counts them: the last ones, the head included.
        tensor_split: Layers of each of `devices`, the head included; their sum is n_gpu_layers.
        overrides: First match wins.
        shares: What each device gets; the CPU comes last.
        forecast: How fast it will be; None when nobody knows the machine's speed.
        reasons: Why, in sentences.
        experts_used: Experts that each token passes; None: as many as the model was trained for.
    """

    context: int
    kv_type: KvType
    ubatch: int
    load_mode: LoadMode
    extra_buffers: bool
    layers: tuple[Placement, ...]
    head: str
    devices: tuple[str, ...]
    n_gpu_layers: int
    tensor_split: tuple[int, ...]
    overrides: tuple[Override, ...]
    shares: tuple[Share, ...]
    forecast: Forecast | None
    reasons: tuple[str, ...] = field(default=())
    experts_used: int | None = None

    @property
    def expert_layers(self) -> int:
        """Layers whose routed experts all lie on GPUs."""
        return sum(layer.experts not in {None, CPU} for layer in self.layers)

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU holds anything."""
        return self.n_gpu_layers > 0

    def share(self, device: str) -> Share:
        """What the device of that name gets."""
        return next(share for share in self.shares if share.device == device)
