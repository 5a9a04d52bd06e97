"""Decides where a model lies: all of it on the GPUs when it fits there, else all of it on the CPU.

Knows sizes by the header's arithmetic and says its reasons in sentences; refuses to know speed, and to split a model
between GPU and CPU.
"""

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate, pairwise

from mixchat.errors import DoesNotFit, UsageError
from mixchat.gguf.model import MoeModel
from mixchat.plan.memory import (
    CONTEXT_STEP,
    DEFAULT_UBATCH,
    compute_bytes,
    default_context,
    kv_bytes,
    kv_per_layer,
    round_context,
)
from mixchat.plan.units import format_bytes
from mixchat.plan.values import Device, Footprint, KvType, Machine, Plan, Wishes

GPU_MARGIN = 1 << 30
"""Bytes that stay free on every GPU, for its driver and for what the arithmetic does not see."""

MAX_CONTEXT = (1 << 31) - CONTEXT_STEP


def place(model: MoeModel, machine: Machine, wishes: Wishes) -> Plan:
    """Place a model on a machine.

    1. The context is the one asked for, else the default, rounded up as llama.cpp does.
    2. Unless the CPU is asked for, all layers go to the GPUs when each has room for its share and the margin.
    3. Otherwise everything goes to the CPU, when weights, KV cache and compute buffers fit the available RAM.
    4. There, llama.cpp's extra buffers are a second copy of the weights; they stay on when that fits too.

    Raises:
        DoesNotFit: It fits neither the GPUs nor the RAM, and was not forced.
        UsageError: The context asked for is no possible number of tokens.
    """
    context = _context(model, wishes)
    gpus = tuple(device for device in machine.devices if device.kind == "gpu")
    obstacle = _gpu_obstacle(model, gpus, wishes, context)
    draft = Plan(
        context=context,
        kv_type=wishes.kv_type,
        gpu=obstacle is None,
        extra_buffers=False,
        load_mode="mmap",
        footprints=(),
        reasons=_context_reasons(model, wishes) + ((obstacle,) if obstacle else ()),
    )
    return _on_gpus(model, machine, gpus, draft) if draft.gpu else _on_cpu(model, machine, wishes, draft)


def _context(model: MoeModel, wishes: Wishes) -> int:
    if wishes.context is None:
        return round_context(default_context(model))
    if not 0 < wishes.context <= MAX_CONTEXT:
        raise UsageError(f"{wishes.context} tokens of context are impossible.", f"Give --ctx 1 to {MAX_CONTEXT}.")
    return round_context(wishes.context)


def _context_reasons(model: MoeModel, wishes: Wishes) -> tuple[str, ...]:
    if wishes.context is None or wishes.context <= model.context_length:
        return ()
    reason = (
        f"The context of {wishes.context} tokens is more than the {model.context_length} that the model was trained "
        "for; answers may get worse past those."
    )
    return (reason,)


def _footprint(model: MoeModel, context: int, kv_type: KvType) -> Footprint:
    compute = compute_bytes(model, DEFAULT_UBATCH, context)
    return Footprint(model.weights, kv_bytes(model, context, kv_type), compute)


def _gpu_weights(model: MoeModel) -> int:
    """llama.cpp keeps the token embedding on the CPU; a tied one is on the GPU too, as the head."""
    return model.weights if model.tied else model.weights - model.token_embd


def _gpu_obstacle(model: MoeModel, gpus: tuple[Device, ...], wishes: Wishes, context: int) -> str | None:
    """Why the model cannot lie on the GPUs; None when it can."""
    if not gpus:
        return "There is no GPU that llama.cpp can use, so everything runs on the CPU."
    if wishes.device == "cpu":
        return "The CPU was asked for."
    divided = _gpu_weights(model) + kv_bytes(model, context, wishes.kv_type)
    fixed = compute_bytes(model, DEFAULT_UBATCH, context) + GPU_MARGIN
    fixed += _largest_piece(model, wishes.kv_type, context) if len(gpus) > 1 else 0
    total = max(sum(gpu.free for gpu in gpus), 1)
    for gpu in gpus:
        need = -(-divided * gpu.free // total) + fixed
        if need > gpu.free:
            return (
                f"{gpu.name} has {format_bytes(gpu.free)} free and its part of the model takes {format_bytes(need)} "
                f"with a margin of {format_bytes(GPU_MARGIN)}, so everything runs on the CPU."
            )
    return None


def _largest_piece(model: MoeModel, kv_type: KvType, context: int) -> int:
    """Bytes that a GPU may get above its share: llama.cpp divides whole layers, and the head is one of them."""
    caches = kv_per_layer(model, context, kv_type)
    layers = (layer.total + cache for layer, cache in zip(model.layers, caches, strict=True))
    return max(*layers, model.output, model.token_embd if model.tied else 0)


def _on_gpus(model: MoeModel, machine: Machine, gpus: tuple[Device, ...], plan: Plan) -> Plan:
    """All layers on the GPUs, divided by free memory as llama.cpp does; each has compute buffers of its own."""
    whole = _footprint(model, plan.context, plan.kv_type)
    weights = _divide(_gpu_weights(model), gpus)
    caches = _divide(whole.kv, gpus)
    parts = [
        (gpu.name, Footprint(held, cache, whole.compute))
        for gpu, held, cache in zip(gpus, weights, caches, strict=True)
    ]
    parts.append((_cpu_name(machine), Footprint(model.token_embd, 0, 0)))
    names = " and ".join(gpu.name for gpu in gpus)
    free = format_bytes(sum(gpu.free for gpu in gpus))
    used = format_bytes(sum(part.total for _, part in parts[:-1]))
    reason = f"All layers fit {names}: they take {used} of {free} free."
    return replace(plan, footprints=tuple(parts), reasons=(*plan.reasons, reason))


def _divide(size: int, gpus: tuple[Device, ...]) -> tuple[int, ...]:
    """Parts in proportion to free memory, whose sum is `size`."""
    total = sum(gpu.free for gpu in gpus)
    ends = [size * before // total for before in accumulate((gpu.free for gpu in gpus), initial=0)]
    return tuple(after - before for before, after in pairwise(ends))


def _on_cpu(model: MoeModel, machine: Machine, wishes: Wishes, plan: Plan) -> Plan:
    whole = _footprint(model, plan.context, plan.kv_type)
    short_by = whole.total - machine.ram_available
    reasons = [*plan.reasons, _need(model, whole, machine)]
    if short_by > 0:
        if not wishes.force:
            raise DoesNotFit(reasons[-1], "RAM", short_by, _remedies(model, machine, plan, whole))
        reasons.append(f"{format_bytes(short_by)} are missing; --force goes on all the same.")
    extra = whole.total + whole.weights <= machine.ram_available
    reasons.append(
        f"llama.cpp's extra buffers, a second copy of the weights of about {format_bytes(whole.weights)}, are "
        + ("on: they fit too." if extra else "off: they do not fit.")
    )
    parts = ((_cpu_name(machine), whole),)
    return replace(plan, extra_buffers=extra, footprints=parts, reasons=tuple(reasons))


def _cpu_name(machine: Machine) -> str:
    return next((device.name for device in machine.devices if device.kind == "cpu"), "CPU")


def _need(model: MoeModel, whole: Footprint, machine: Machine) -> str:
    return (
        f"{model.name} {model.quantization} needs {format_bytes(whole.total)} of RAM "
        f"({format_bytes(whole.weights)} of weights, {format_bytes(whole.kv)} of KV cache, "
        f"{format_bytes(whole.compute)} of compute buffers); {format_bytes(machine.ram_available)} are available."
    )


def _remedies(model: MoeModel, machine: Machine, plan: Plan, whole: Footprint) -> tuple[str, ...]:
    """What would make it fit: less context, fewer bytes of weights, or not caring."""
    remedies = []
    context = min(_fitting_context(model, machine, plan), round_context(model.context_length))
    if context:
        remedies.append(f"Give --ctx {context}, which fits.")
    room = machine.ram_available - whole.kv - whole.compute
    if room > 0:
        remedies.append(f"Use a smaller quantization: weights of up to {format_bytes(room)} fit.")
    remedies.append("Give --force to go on all the same; paging will make it very slow.")
    return tuple(remedies)


def _fitting_context(model: MoeModel, machine: Machine, plan: Plan) -> int:
    """The largest context below the plan's that fits the RAM; 0 when none does."""
    steps = range(CONTEXT_STEP, plan.context, CONTEXT_STEP)
    fitting = bisect_right(
        steps, machine.ram_available, key=lambda context: _footprint(model, context, plan.kv_type).total
    )
    return fitting * CONTEXT_STEP
