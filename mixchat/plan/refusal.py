"""Why a model does not fit, in numbers, and what would make it fit.

Knows the remedies; refuses to decide whether it fits.
"""

from collections.abc import Iterator
from dataclasses import replace

from mixchat.errors import DoesNotFit
from mixchat.plan.layout import on_cpu, on_gpus
from mixchat.plan.memory import CONTEXT_STEP, round_context
from mixchat.plan.modes import RAM_RESERVE, drafts, ram_short_by
from mixchat.plan.site import Site
from mixchat.plan.units import format_bytes
from mixchat.plan.values import Machine, Plan, Share, Wishes


def refuse(site: Site, machine: Machine, wishes: Wishes, draft: Plan) -> DoesNotFit:
    """The error for a plan that does not fit: the first device that is too small, and the remedies."""
    remedies = tuple(_remedies(site, machine, wishes, draft))
    for gpu, share in zip(site.gpus, draft.shares, strict=False):
        short_by = share.footprint.total - site.budget(gpu)
        if short_by > 0:
            available = f"{format_bytes(site.budget(gpu))} are available"
            return DoesNotFit(_needs(site, share, available), share.device, short_by, remedies)
    message = _needs(site, draft.shares[-1], available_ram(machine))
    return DoesNotFit(message, "RAM", ram_short_by(site, draft), remedies)


def available_ram(machine: Machine) -> str:
    """What a plan may have of the RAM, in words."""
    return f"{format_bytes(machine.ram_available)} are available ({format_bytes(RAM_RESERVE)} stay free)"


def _needs(site: Site, share: Share, available: str) -> str:
    held, model = share.footprint, site.whole
    where = "of RAM" if share.kind == "cpu" else f"on {share.device}"
    trace = f", {format_bytes(held.trace)} to trace its experts" if held.trace else ""
    return (
        f"{model.name} {model.quantization} needs {format_bytes(held.total)} {where} "
        f"({format_bytes(held.weights)} of weights, {format_bytes(held.kv)} of KV cache, "
        f"{format_bytes(held.compute)} of compute buffers{trace}); {available}."
    )


def _remedies(site: Site, machine: Machine, wishes: Wishes, draft: Plan) -> Iterator[str]:
    """Fewer layers on the GPUs, less context, fewer bytes of weights, or not caring."""
    if (layers := _fitting_numbers(site, machine, wishes)) is not None:
        yield layers
        return
    if context := _fitting_context(site, machine, wishes):
        yield f"Give --ctx {context}, which fits."
    if wishes.kv_type != "q4_0" and _fits(replace(site, kv_type="q4_0"), machine, wishes):
        yield "Give --kv-type q4_0, which fits and is less exact."
    room = sum(share.footprint.weights for share in draft.shares) - ram_short_by(site, draft)
    if room > 0:
        yield f"Use a smaller quantization: weights of up to {format_bytes(room)} fit."
    yield "Give --force to go on all the same; paging will make it very slow."


def _fitting_numbers(site: Site, machine: Machine, wishes: Wishes) -> str | None:
    """The largest numbers below the person's own that fit."""
    for name, asked in (("expert_layers", wishes.expert_layers), ("gpu_layers", wishes.gpu_layers)):
        for fewer in range(min(asked or 0, site.whole.n_layers + 1), -1, -1):
            less = (
                replace(wishes, expert_layers=fewer) if name == "expert_layers" else replace(wishes, gpu_layers=fewer)
            )
            if fewer != asked and asked is not None and _fits(site, machine, less):
                option = f"--{name.replace('_', '-')} {fewer}"
                return f"Give {option}, which fits, or leave it out; --force goes on all the same."
    return None


def _fitting_context(site: Site, machine: Machine, wishes: Wishes) -> int:
    """The largest context below the one that does not fit, the one of a trace likewise; 0 when none does."""
    most = max(site.context, round_context(site.trace))
    low, high = 0, min(most, round_context(site.whole.context_length) + CONTEXT_STEP) // CONTEXT_STEP
    while high - low > 1:
        middle = (low + high) // 2
        size = middle * CONTEXT_STEP
        if _fits(replace(site, context=min(site.context, size), trace=min(site.trace, size)), machine, wishes):
            low = middle
        else:
            high = middle
    return low * CONTEXT_STEP


def _fits(site: Site, machine: Machine, wishes: Wishes) -> bool:
    numbers = wishes.gpu_layers is not None or wishes.expert_layers is not None
    layouts = [*on_gpus(site, wishes), *(() if numbers else (on_cpu(site),))]
    return any(drafts(site, layout, machine, replace(wishes, force=False)) for layout in layouts)
