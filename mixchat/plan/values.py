"""The values that a plan is made from and made of.

Knows a machine's memory, a person's wishes and where a model will lie; refuses to know who measured the machine and
who loads the model. Every size is in bytes, every context in tokens.
"""

from dataclasses import dataclass
from typing import Literal

KvType = Literal["f16", "q8_0", "q4_0"]
LoadMode = Literal["mmap", "copy", "mlock"]


@dataclass(frozen=True, slots=True)
class Device:
    """A device that llama.cpp can compute on.

    Attributes:
        name: llama.cpp's name, such as `CUDA0`.
        kind: A GPU has memory of its own.
        free: Memory that is free now.
        total: All its memory.
    """

    name: str
    kind: Literal["gpu", "cpu"]
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to run on: the devices, and RAM that a process may still take."""

    devices: tuple[Device, ...]
    ram_available: int


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person asked for.

    Attributes:
        context: None leaves it to the plan.
        kv_type: Type of the KV cache.
        device: `cpu` leaves the GPUs alone.
        force: Go on although it does not fit.
    """

    context: int | None = None
    kv_type: KvType = "f16"
    device: Literal["auto", "cpu"] = "auto"
    force: bool = False


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a device gives to weights, the KV cache and compute buffers."""

    weights: int
    kv: int
    compute: int

    @property
    def total(self) -> int:
        """All its bytes."""
        return self.weights + self.kv + self.compute


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model will be loaded.

    Attributes:
        context: Tokens of KV cache, a multiple of 256.
        kv_type: Type of the KV cache.
        gpu: All layers on the GPUs; otherwise everything on the CPU.
        extra_buffers: llama.cpp may keep a second, repacked copy of the weights.
        load_mode: How weights come into memory.
        footprints: What lies on each device, by its name; of the CPU without the second copy.
        reasons: Why, in sentences.
    """

    context: int
    kv_type: KvType
    gpu: bool
    extra_buffers: bool
    load_mode: LoadMode
    footprints: tuple[tuple[str, Footprint], ...]
    reasons: tuple[str, ...]
