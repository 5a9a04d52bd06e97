"""What llama.cpp really allocated, beside what the plan said.

Knows what the lines of llama.cpp's log mean; refuses to know how they are caught and shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mixchat.engine.events import BufferSize
from mixchat.plan.units import format_bytes
from mixchat.plan.values import CPU, Footprint, Plan

LARGEST_SHARE: Final = 0.05
LEAST_BYTES: Final = 64 << 20
"""A device is off when planned and real differ by more than 5 % of what was planned and by more than 64 MiB."""

_MAPPED: Final = "_Mapped"
_PINNED: Final = "_Host"


@dataclass(frozen=True, slots=True)
class Allocation:
    """One device's memory; bytes.

    Attributes:
        device: Its name; `CPU` is RAM.
        kind: `cpu` is RAM.
        planned: What the plan said.
        real: What llama.cpp reported.
    """

    device: str
    kind: Literal["gpu", "cpu"]
    planned: Footprint
    real: Footprint

    @property
    def off(self) -> bool:
        """Whether planned and real are too far apart."""
        difference = abs(self.real.total - self.planned.total)
        return difference > LEAST_BYTES and difference > LARGEST_SHARE * self.planned.total


def allocations(plan: Plan, buffers: Sequence[BufferSize]) -> tuple[Allocation, ...]:
    """Planned and real memory of every device of the plan, in its order; none when nothing was reported.

    1. A buffer belongs to the GPU whose name it begins with (`RPC0`, `MTL0_Private`), else to RAM: `CPU`, `CPU_Mapped`,
       `CPU_REPACK`, and the pinned memory that GPUs read, such as `CUDA_Host`. Several of a kind add up.
    2. `output`, the logits, counts as compute.
    3. A mapped buffer is the span of the file from its first to its last tensor, so the weights in it are at most
       that; what the plan says within it is taken as true.
    4. What tracing will need is not there yet, and does not count.
    5. RAM buffers of other kinds (`CPU_REPACK`, `AMX`) are private copies where the file is mapped, else the weights
       themselves.
    """
    if not buffers:
        return ()
    gpus = [share.device for share in plan.shares if share.kind == "gpu"]
    owned = [(_owner(buffer.device, gpus), buffer) for buffer in buffers]
    return tuple(
        Allocation(
            share.device,
            share.kind,
            replace(share.footprint, trace=0),
            _footprint([buffer for name, buffer in owned if name == share.device], share.footprint, share.kind),
        )
        for share in plan.shares
    )


def discrepancies(found: Iterable[Allocation]) -> tuple[str, ...]:
    """A sentence for every device whose planned and real memory are too far apart."""
    return tuple(
        f"{each.device} holds {format_bytes(each.real.total)} where {format_bytes(each.planned.total)} were planned"
        f"{_details(each)}."
        for each in found
        if each.off
    )


def _owner(buffer: str, gpus: Iterable[str]) -> str:
    """The GPU that a buffer belongs to, by its name; `CUDA1` owns `CUDA1` and not `CUDA10`."""
    return next((name for name in gpus if buffer.startswith(name) and not buffer[len(name) :][:1].isalnum()), CPU)


def _footprint(buffers: Sequence[BufferSize], planned: Footprint, kind: Literal["gpu", "cpu"]) -> Footprint:
    kv = _sum(buffer for buffer in buffers if buffer.holds == "kv")
    compute = _sum(buffer for buffer in buffers if buffer.holds in {"compute", "output"})
    models = [buffer for buffer in buffers if buffer.holds == "model"]
    mapped = _sum(buffer for buffer in models if buffer.device.endswith(_MAPPED))
    copies = _sum(buffer for buffer in models if _is_copy(buffer.device)) if kind == "cpu" and mapped else 0
    plain = _sum(models) - mapped - copies
    return Footprint(plain + min(mapped, max(planned.weights - plain, 0)), kv, compute, copies)


def _is_copy(buffer: str) -> bool:
    return buffer != CPU and not buffer.endswith((_MAPPED, _PINNED))


def _sum(buffers: Iterable[BufferSize]) -> int:
    return sum(buffer.nbytes for buffer in buffers)


def _details(found: Allocation) -> str:
    """Which parts differ by more than 64 MiB."""
    pairs = (
        ("weights", found.real.weights, found.planned.weights),
        ("KV cache", found.real.kv, found.planned.kv),
        ("compute buffers", found.real.compute, found.planned.compute),
        ("repacked copies", found.real.copies, found.planned.copies),
    )
    parts = [
        f"{name} {format_bytes(real)} instead of {format_bytes(planned)}"
        for name, real, planned in pairs
        if abs(real - planned) > LEAST_BYTES
    ]
    return f" ({', '.join(parts)})" if parts else ""
