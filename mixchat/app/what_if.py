"""What another context, KV cache, quantization or machine would cost or bring.

Knows which changes are worth a look and says their effect in words; refuses to know how a placement is found.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from mixchat.app.machine import described_gpu
from mixchat.errors import DoesNotFit
from mixchat.gguf.model import MoeModel
from mixchat.plan.hardware import complete
from mixchat.plan.memory import CONTEXT_STEP
from mixchat.plan.place import place
from mixchat.plan.units import format_bytes
from mixchat.plan.values import Device, Machine, Plan, Wishes

MORE_VRAM: Final = 8 << 30
MORE_RAM: Final = 16 << 30
_FASTER: Final = 0.02
"""Speeds that differ by less count as equal."""

_EXACT_BELOW: Final = 100


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A change and its effect, in words."""

    change: str
    effect: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is placed where, with which wishes."""

    model: MoeModel
    machine: Machine
    wishes: Wishes


def what_ifs(case: Case, plan: Plan | None, others: Iterable[MoeModel]) -> tuple[WhatIf, ...]:
    """The changes that change something.

    Args:
        case: As it is.
        plan: Its placement; None when it does not fit.
        others: Other quantizations of the model.
    """
    changes = [
        *_other_contexts(case, plan),
        *_other_kv(case, plan),
        *((_quantization(case, model), replace(case, model=model)) for model in others),
        *_more_memory(case),
    ]
    found = ((change, _effect(plan, other)) for change, other in changes)
    return tuple(WhatIf(change, effect) for change, effect in found if effect)


def _other_contexts(case: Case, plan: Plan | None) -> Iterator[tuple[str, Case]]:
    if plan is None:
        return
    for words, context in (("half the context", plan.context // 2), ("twice the context", plan.context * 2)):
        if CONTEXT_STEP <= context <= case.model.context_length:
            yield f"{words} ({context} tokens)", replace(case, wishes=replace(case.wishes, context=context))


def _other_kv(case: Case, plan: Plan | None) -> Iterator[tuple[str, Case]]:
    if plan is not None and plan.kv_type == "f16":
        wishes = replace(case.wishes, kv_type="q8_0", context=plan.context)
        yield "a KV cache in q8_0", replace(case, wishes=wishes)


def _quantization(case: Case, other: MoeModel) -> str:
    less = other.weights < case.model.weights
    return f"{other.quantization}, {'smaller' if less else 'larger'} ({format_bytes(other.weights)} of weights)"


def _more_memory(case: Case) -> Iterator[tuple[str, Case]]:
    machine = case.machine
    first = next((gpu for gpu in machine.gpus if not gpu.unified), None)
    if first is not None:
        larger = tuple(_larger(device) if device is first else device for device in machine.devices)
        yield (
            f"{MORE_VRAM >> 30} GiB more VRAM on {first.name}",
            replace(case, machine=replace(machine, devices=larger)),
        )
    elif not machine.gpus and case.wishes.devices is None:
        card = described_gpu("GPU0", MORE_VRAM)
        with_card = complete(replace(machine, devices=(card, *machine.devices)))
        yield f"a GPU with {MORE_VRAM >> 30} GiB, taken for a fast one", replace(case, machine=with_card)
    more = replace(machine, ram_available=machine.ram_available + MORE_RAM)
    yield f"{MORE_RAM >> 30} GiB more RAM", replace(case, machine=more)


def _larger(gpu: Device) -> Device:
    budget = None if gpu.budget is None else gpu.budget + MORE_VRAM
    return replace(gpu, free=gpu.free + MORE_VRAM, total=gpu.total + MORE_VRAM, budget=budget)


def _effect(before: Plan | None, case: Case) -> str:
    """What changes, in words; empty when nothing does."""
    try:
        after = place(case.model, case.machine, case.wishes)
    except DoesNotFit as exc:
        return f"does not fit: {format_bytes(exc.short_by)} of {exc.what} are missing" if before else ""
    if before is None:
        return "; ".join(("fits", *_shown(after)))
    return ", ".join((*_layers(before, after), *_speeds(before, after)))


def _shown(plan: Plan) -> Iterator[str]:
    if plan.on_gpu:
        yield f"{plan.expert_layers} layers' experts in VRAM"
    if plan.forecast is not None:
        yield f"decode {_speed(plan.forecast.decode_tps)} t/s"


def _layers(before: Plan, after: Plan) -> Iterator[str]:
    if after.expert_layers != before.expert_layers:
        yield f"{after.expert_layers} instead of {before.expert_layers} layers' experts in VRAM"
    elif after.n_gpu_layers != before.n_gpu_layers:
        yield f"{after.n_gpu_layers} instead of {before.n_gpu_layers} layers on the GPU"


def _speeds(before: Plan, after: Plan) -> Iterator[str]:
    old, new = before.forecast, after.forecast
    if old is None or new is None:
        return
    pairs = (("decode", old.decode_tps, new.decode_tps), ("prefill", old.prefill_tps, new.prefill_tps))
    for name, was, becomes in pairs:
        if abs(becomes - was) > _FASTER * was:
            yield f"{name} {_speed(becomes)} instead of {_speed(was)} t/s"


def _speed(per_second: float) -> str:
    return f"{per_second:.1f}" if per_second < _EXACT_BELOW else f"{per_second:.0f}"
