"""Decides where a model lies: every tensor where it is fastest, within what the devices and the RAM can hold.

Knows the order of a person's wishes and compares the possible ways by their predicted time; refuses to know how a time
is predicted and in which words a plan is explained.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations

from mixchat.errors import UsageError
from mixchat.gguf.model import MoeModel
from mixchat.plan.emit import overrides_of
from mixchat.plan.experts import other_number, with_experts_used
from mixchat.plan.forecast import Costs
from mixchat.plan.layout import Layout, again, holds_all, on_cpu, on_gpus
from mixchat.plan.memory import CONTEXT_STEP, DEFAULT_UBATCH, default_context, round_context
from mixchat.plan.modes import drafts
from mixchat.plan.pinned import Pinned, pin
from mixchat.plan.reasons import explain
from mixchat.plan.refusal import refuse
from mixchat.plan.site import Site
from mixchat.plan.values import CPU, Device, Forecast, KvType, Machine, Plan, Wishes

MAX_CONTEXT = (1 << 31) - CONTEXT_STEP
LARGEST_DEFAULT = 32768
"""Tokens of context that nobody asked for, at most."""

UBATCHES = (DEFAULT_UBATCH, 1024, 2048)
"""Prefill batches to choose from while prompts copy the CPU's experts to a GPU: once per batch, whatever its size."""

MOST_COMBINED = 3
"""GPUs of which every combination is compared."""

_ENDLESS = 1 << 62

PROMPT, ANSWER, DEPTH = 1024, 256, 1024
"""The exchange by which ways are compared: tokens of prompt and answer, and tokens of context while decoding."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A way that is possible.

    Attributes:
        plan: With its forecast, without reasons.
        layout: How it divides the model.
        seconds: Predicted for the exchange; None when nobody knows.
    """

    plan: Plan
    layout: Layout
    seconds: float | None


@dataclass(frozen=True, slots=True)
class _Task:
    """What does not change from way to way."""

    model: MoeModel
    machine: Machine
    wishes: Wishes
    pinned: Pinned
    context: int
    known: dict[tuple[object, ...], Costs] = field(default_factory=dict)


def place(model: MoeModel, machine: Machine, wishes: Wishes) -> Plan:
    """Place a model on a machine.

    1. The context is the one asked for, else the default, rounded up as llama.cpp does.
    2. The KV cache is f16; q8_0 when f16 does not fit or costs an expert layer. What was asked for stays.
    3. Of the ways that fit GPUs and RAM, the one with the least predicted time for an exchange of 1024 tokens of
       prompt and 256 of answer, over placement, ubatch, load mode and extra buffers; where nobody knows the machine's
       speed, the one with most bytes on the GPUs.
    4. A context that nobody asked for grows up to 32768 tokens while that moves nothing off a GPU.

    Raises:
        DoesNotFit: There is no way, and it was not forced.
        UsageError: A wish is impossible: a context, a device, a pattern, a number of experts.
    """
    gpus = _wanted(machine, wishes)
    machine = replace(machine, devices=(*gpus, *(each for each in machine.devices if each.kind == "cpu")))
    if not gpus and (wishes.gpu_layers or wishes.expert_layers):
        raise UsageError("There is no GPU to put layers on.", "Leave out --gpu-layers and --expert-layers.")
    running = with_experts_used(model, wishes.experts_used)
    task = _Task(running, machine, wishes, pin(model, machine, wishes.overrides), _context(model, wishes))
    choice = _best_kv(task, gpus)
    if choice is None:
        choice = _forced(task, gpus)
    choice = _with_more_context(task, choice)
    overrides = (*task.pinned.overrides, *overrides_of(model, choice.plan.layers))
    plan = replace(choice.plan, overrides=overrides, experts_used=other_number(model, wishes.experts_used))
    return replace(plan, reasons=explain(model, machine, wishes, plan))


def _context(model: MoeModel, wishes: Wishes) -> int:
    if wishes.context is None:
        return round_context(default_context(model))
    if not 0 < wishes.context <= MAX_CONTEXT:
        raise UsageError(f"{wishes.context} tokens of context are impossible.", f"Give --ctx 1 to {MAX_CONTEXT}.")
    return round_context(wishes.context)


def _wanted(machine: Machine, wishes: Wishes) -> tuple[Device, ...]:
    """The GPUs that may be used, in the order asked for."""
    if wishes.devices is None:
        return machine.gpus
    by_name = {gpu.name.lower(): gpu for gpu in machine.gpus}
    names = [name for name in wishes.devices if name.lower() != CPU.lower()]
    for name in names:
        if name.lower() not in by_name:
            there = ", ".join([CPU, *(gpu.name for gpu in machine.gpus)])
            raise UsageError(f"There is no device {name}.", f"Give --device {there.replace(', ', ' or ')}.")
    return tuple(by_name[name.lower()] for name in names)


def _best_kv(task: _Task, gpus: tuple[Device, ...]) -> Choice | None:
    """Step 2: the precise KV cache, unless the smaller one brings more layers to the GPUs, or is the only one."""
    best = _best_ubatch(task, gpus, task.wishes.kv_type or "f16")
    full = best is not None and (not gpus or best.plan.expert_layers == task.model.n_layers)
    if task.wishes.kv_type is None and not full and (best is None or _may_bring_more(task, gpus, best)):
        small = _best_ubatch(task, gpus, "q8_0")
        if small is not None and (best is None or _layers_on_gpu(small.plan) > _layers_on_gpu(best.plan)):
            return small
    return best


def _best_ubatch(task: _Task, gpus: tuple[Device, ...], kv_type: KvType) -> Choice | None:
    best = _best(task, gpus, kv_type, _first_ubatch(task))
    if best is None or best.seconds is None or task.wishes.ubatch is not None:
        return best
    larger = [choice for ubatch in UBATCHES[1:] for choice in _larger(task, best, ubatch)]
    return min((best, *larger), key=_rank)


def _larger(task: _Task, best: Choice, ubatch: int) -> Iterator[Choice]:
    """The same GPUs with larger prefill batches, where prompts copy experts to one."""
    if _streaming(task, best):
        gpus = tuple(gpu for gpu in task.machine.gpus if gpu.name in best.plan.devices)
        site = _site(task, gpus, task.context, best.plan.kv_type, ubatch)
        layout = next(on_gpus(site, task.wishes), None)
        if layout is not None:
            yield from _ways(task, site, layout, _costs(task, gpus, site.kv_type, task.context))


def _may_bring_more(task: _Task, gpus: tuple[Device, ...], best: Choice) -> bool:
    """Whether a smaller KV cache would leave room for another layer on all the GPUs together, or on those in use."""
    used = tuple(gpu for gpu in gpus if gpu.name in best.plan.devices)
    some = [gpus, used] if used and used != gpus else [gpus]
    sites = [_site(task, each, task.context, "q8_0", _first_ubatch(task)) for each in some]
    ways = (layout for site in sites for layout in on_gpus(site, task.wishes))
    return any((way.n_gpu_layers, way.experts) > (best.layout.n_gpu_layers, best.layout.experts) for way in ways)


def _first_ubatch(task: _Task) -> int:
    return task.wishes.ubatch or DEFAULT_UBATCH


def _streaming(task: _Task, choice: Choice) -> bool:
    """Whether prompts copy experts to a GPU, so that larger batches may pay."""
    local = {gpu.name for gpu in task.machine.gpus if not gpu.remote and not gpu.unified}
    return bool(local & set(choice.plan.devices)) and choice.plan.expert_layers < task.model.n_layers


def _layers_on_gpu(plan: Plan) -> tuple[int, int]:
    return plan.n_gpu_layers, plan.expert_layers


def _best(task: _Task, gpus: tuple[Device, ...], kv_type: KvType, ubatch: int) -> Choice | None:
    """Step 3, for one KV type and ubatch."""
    choices: list[Choice] = []
    for some in _selections(task, gpus):
        site = _site(task, some, task.context, kv_type, ubatch)
        choices += _choices(task, site, _costs(task, some, kv_type, task.context))
    return min(choices, key=_rank, default=None)


def _costs(task: _Task, gpus: tuple[Device, ...], kv_type: KvType, context: int) -> Costs:
    depth = min(DEPTH, context // 2)
    key = (*(gpu.name for gpu in gpus), kv_type, depth)
    if key not in task.known:
        task.known[key] = Costs(task.model, replace(task.machine, devices=gpus), kv_type, depth)
    return task.known[key]


def _selections(task: _Task, gpus: tuple[Device, ...]) -> Iterator[tuple[Device, ...]]:
    """Which GPUs to use together: those asked for; else all, and any of a few that may be faster.

    Fewer may be faster where they hold the whole model, or where what is left out has no room for a layer. A remote
    device is there because it was asked for.
    """
    yield gpus
    if _asked_for(task, gpus) or not 1 < len(gpus) <= MOST_COMBINED:
        return
    layer = max(layer.total for layer in task.model.layers)
    for count in range(len(gpus) - 1, 0, -1):
        for some in combinations(gpus, count):
            site = _site(task, some, task.context, "q8_0", DEFAULT_UBATCH)
            little = all(gpu.free - task.wishes.margin < 2 * layer for gpu in gpus if gpu not in some)
            if little or holds_all(site):
                yield some


def _asked_for(task: _Task, gpus: tuple[Device, ...]) -> bool:
    return task.wishes.devices is not None or any(gpu.remote for gpu in gpus)


def _site(task: _Task, gpus: tuple[Device, ...], context: int, kv_type: KvType, ubatch: int) -> Site:
    return Site(
        task.model, task.pinned, gpus, task.wishes.margin, context, kv_type, min(ubatch, context), task.wishes.trace
    )


def _choices(task: _Task, site: Site, costs: Costs) -> Iterator[Choice]:
    """Every way of a site that fits the RAM too."""
    numbers = task.wishes.gpu_layers is not None or task.wishes.expert_layers is not None
    layouts = list(on_gpus(site, task.wishes))
    if not site.gpus or not (numbers or (layouts and _asked_for(task, site.gpus))):
        layouts.append(on_cpu(site))
    for layout in layouts:
        yield from _ways(task, site, layout, costs)


def _ways(task: _Task, site: Site, layout: Layout, costs: Costs) -> Iterator[Choice]:
    for draft in drafts(site, layout, task.machine, task.wishes):
        yield _choice(draft, layout, costs.forecast(draft))


def _choice(draft: Plan, layout: Layout, forecast: Forecast | None) -> Choice:
    seconds = None if forecast is None else PROMPT / forecast.prefill_tps + ANSWER / forecast.decode_tps
    return Choice(replace(draft, forecast=forecast), layout, seconds)


def _rank(choice: Choice) -> tuple[float, float]:
    """Less is better: time, then bytes that are not on a GPU."""
    on_gpus = sum(share.footprint.weights for share in choice.plan.shares if share.kind == "gpu")
    return (0.0 if choice.seconds is None else choice.seconds, -on_gpus)


def _forced(task: _Task, gpus: tuple[Device, ...]) -> Choice:
    """There is no way that fits: refuse, or take the one with most on the GPUs; numbers that were given are obeyed."""
    kv_type: KvType = task.wishes.kv_type or "q8_0"
    site = _site(task, gpus, task.context, kv_type, task.wishes.ubatch or DEFAULT_UBATCH)
    layout = next(on_gpus(site, task.wishes), None) or next(_regardless(site, task.wishes))
    draft = drafts(site, layout, task.machine, replace(task.wishes, force=True, extra_buffers=False))[-1]
    if not task.wishes.force:
        raise refuse(site, task.machine, task.wishes, draft)
    return _choice(draft, layout, _costs(task, gpus, kv_type, task.context).forecast(draft))


def _regardless(site: Site, wishes: Wishes) -> Iterator[Layout]:
    """What the person's numbers say, whatever the GPUs hold; without numbers the CPU."""
    if wishes.gpu_layers is not None or wishes.expert_layers is not None:
        endless = tuple(replace(gpu, free=_ENDLESS, budget=None) for gpu in site.gpus)
        yield from on_gpus(replace(site, gpus=endless), wishes)
    yield on_cpu(site)


def _with_more_context(task: _Task, choice: Choice) -> Choice:
    """Step 4: the largest context that leaves every layer and the KV cache's type as they are."""
    plan = choice.plan
    whole = plan.n_gpu_layers > task.model.n_layers
    if task.wishes.context is not None or not whole or task.wishes.force:
        return choice
    gpus = tuple(gpu for gpu in task.machine.gpus if gpu.name in plan.devices)
    context = min(LARGEST_DEFAULT, task.model.context_length) // CONTEXT_STEP * CONTEXT_STEP
    while context > plan.context:
        site = _site(task, gpus, context, plan.kv_type, plan.ubatch)
        if (larger := _same(task, site, choice)) is not None:
            return larger
        context = max(context // 2, 0) // CONTEXT_STEP * CONTEXT_STEP
    return choice


def _same(task: _Task, site: Site, choice: Choice) -> Choice | None:
    layout = again(site, choice.layout)
    if layout is None:
        return None
    how = (choice.plan.load_mode, choice.plan.extra_buffers)
    ways = drafts(site, layout, task.machine, task.wishes)
    same = (draft for draft in ways if (draft.load_mode, draft.extra_buffers) == how)
    costs = _costs(task, site.gpus, site.kv_type, site.context)
    return next((_choice(draft, layout, costs.forecast(draft)) for draft in same), None)
