"""Open a model: place it by its header, load just that, and say where the plan and the truth differ.

Knows the order of the steps, and what follows when a device has no room after all; refuses to know how a step is done
and shown.
"""

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from mixchat.app.events import Notice, Opened, OpenEvent
from mixchat.app.house import House
from mixchat.app.machine import machine_of, rated, types_of
from mixchat.app.source import Source, loadable
from mixchat.app.truth import allocations, discrepancies
from mixchat.app.wishes import wishes_of
from mixchat.engine import platform
from mixchat.engine.events import Loaded, LoadRequest
from mixchat.errors import AllocationFailed, DoesNotFit, InUse, OutputError
from mixchat.gguf.model import MoeModel
from mixchat.models.library import mark_used
from mixchat.plan.experts import experts_note, with_experts_used
from mixchat.plan.memory import CONTEXT_STEP
from mixchat.plan.place import place
from mixchat.plan.values import CPU, Machine, Plan, Wishes
from mixchat.store.failures import Attempt, held_back, identity_of, remember
from mixchat.store.settings import Settings

MOST_RETRIES: Final = 4
"""How often one layer more is moved to RAM after a device had no room."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a model is opened for.

    Attributes:
        force: Load it although it may not fit.
        before: How it was loaded the last time, for a word about what has changed.
        sequences: Answers that may be in the making at once.
        context: Tokens of context, whatever the settings say.
        trace: Tokens of a text of which the routers' choices will be wanted; see `Wishes`.
    """

    force: bool = False
    before: Plan | None = None
    sequences: int = 1
    context: int | None = None
    trace: int = 0


ONE_ANSWER: Final = Use()


@dataclass(frozen=True, slots=True)
class _Draft:
    """A plan, how many layers were held back for it, and what is remembered of an earlier failure."""

    held: int
    machine: Machine
    plan: Plan
    attempt: Attempt
    known: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How a model is to be loaded, whatever becomes of its plan."""

    settings: Settings
    wishes: Wishes
    sequences: int


def open_model(
    house: House, source: Source, settings: Settings, use: Use = ONE_ANSWER
) -> Generator[OpenEvent, None, Opened | None]:
    """Load a model; ends with Opened, and returns it, or without it when the engine was interrupted.

    1. A file that llama.cpp does not load is refused by its header.
    2. The build of llama.cpp proves itself, once per build and CPU.
    3. The engine names its devices, and the model is placed on what they have free now; what failed before within 30
       days is not tried again.
    4. It is loaded just so, marked as in use. When a device has no room, one more layer's experts move to RAM and it is
       loaded again, four times at the most; what works then is remembered.
    5. A device that holds more or less than planned is told.

    Args:
        house: The outside.
        source: The model.
        settings: How to load it.
        use: What it is opened for.

    Raises:
        BadModel: The file cannot be loaded.
        DoesNotFit: The machine lacks the memory, and the use does not force it.
        AllocationFailed: A device has no room, whatever was moved.
        EngineError: llama.cpp fails.
        InUse: The model is being removed.
    """
    loadable(source)
    proof, new = house.prove()
    if new and not proof.extra_buffers:
        yield Notice(
            f"This build of llama.cpp fails its self test with repacked weights ({proof.reason}) "
            "mixchat runs it without them: prefill is slower, answers are right."
        )
    wishes = wishes_of(settings, force=use.force, extra_buffers=proof.extra_buffers)
    wishes = replace(wishes, context=use.context or wishes.context, trace=use.trace)
    draft = yield from _draft(house, source, settings, wishes)
    yield from (Notice(text) for text in _about(settings, source.model, draft, use.before))
    house.uses.begin(source.path)
    mark_used(house.places, source.path)
    return (yield from _load(house, source, _Wanted(settings, wishes, use.sequences), draft))


def load_request(source: Source, plan: Plan, settings: Settings, sequences: int = 1) -> LoadRequest:
    """What the engine is asked for: the plan, and the threads.

    A mapped file is read ahead when something of it stays in RAM and all of it fits the RAM that is available now,
    beside what else goes there.
    """
    ram = plan.share(CPU).footprint
    fits_cache = source.model.file_bytes + ram.total - ram.weights <= platform.ram_available()
    return LoadRequest(
        path=str(source.path),
        context=plan.context,
        devices=plan.devices,
        n_gpu_layers=plan.n_gpu_layers,
        tensor_split=plan.tensor_split,
        overrides=plan.overrides,
        kv_type=plan.kv_type,
        ubatch=plan.ubatch,
        threads=settings.value("threads") or platform.physical_cores(),
        load_mode=plan.load_mode,
        extra_buffers=plan.extra_buffers,
        read_ahead=plan.load_mode != "copy" and ram.weights > 0 and fits_cache,
        experts_used=plan.experts_used,
        architecture=source.model.architecture,
        sequences=sequences,
    )


def _draft(
    house: House, source: Source, settings: Settings, wishes: Wishes, held: int = 0
) -> Generator[Notice, None, _Draft]:
    """Plan for the machine as it is now, with that many layers held back, or as many as an earlier failure took.

    Room that a layer leaves stays free: context, KV cache and ubatch are those of the plan without it.
    """
    machine = yield from rated(house, settings, machine_of(house, settings), types_of(source.model))
    plan = place(source.model, machine, wishes)
    attempt = Attempt(identity_of(source.path), plan.context, plan.kv_type, _conditions(machine, wishes, plan))
    known = held_back(house.places, attempt, house.now())
    held = max(held, known)
    if held:
        fixed = replace(wishes, held_back=held, context=plan.context, kv_type=plan.kv_type, ubatch=plan.ubatch)
        plan = place(source.model, machine, fixed)
    return _Draft(held, machine, plan, attempt, known)


def _conditions(machine: Machine, wishes: Wishes, plan: Plan) -> str:
    """What else a failure depends on: the plan's GPUs with all their memory and budget, and what was fixed by hand."""
    used = [device for device in machine.devices if device.name in plan.devices]
    fixed = (wishes.gpu_layers, wishes.expert_layers, wishes.ubatch, *(each.pattern for each in wishes.overrides))
    devices = [f"{device.name} {device.total} {device.budget}" for device in used]
    experts = [f"{plan.experts_used} experts"] if plan.experts_used else []
    return ", ".join([*devices, *(str(each) for each in fixed if each is not None), *experts])


def _load(house: House, source: Source, wanted: _Wanted, draft: _Draft) -> Generator[OpenEvent, None, Opened | None]:
    first, opened = draft, None
    for retries in range(MOST_RETRIES + 1):
        request = load_request(source, draft.plan, wanted.settings, wanted.sequences)
        try:
            for event in house.engine.load(request):
                if isinstance(event, Loaded):
                    _keep(house, first, draft)
                    found = allocations(draft.plan, event.buffers)
                    yield from (Notice(f"Not as planned: {text}") for text in discrepancies(found))
                    running = with_experts_used(source.model, draft.plan.experts_used)
                    opened = Opened(source.name, running, draft.plan, event, request, draft.machine)
                    yield opened
                else:
                    yield event
        except AllocationFailed as error:
            smaller = None
            if retries < MOST_RETRIES and _may_help(error, draft.plan):
                smaller = yield from _smaller(house, source, wanted, draft)
            if smaller is None:
                raise _final(error, draft.plan, retries) from error
            yield Notice(f"{error.message.rstrip('.')}. {_moved(draft.plan, smaller.plan)} and it is loaded again.")
            draft = smaller
        else:
            return opened
    return None


def _may_help(error: AllocationFailed, plan: Plan) -> bool:
    """Whether the room was lacking where moving experts to RAM makes some."""
    return plan.on_gpu and (not error.device or error.device in plan.devices)


def _smaller(house: House, source: Source, wanted: _Wanted, draft: _Draft) -> Generator[Notice, None, _Draft | None]:
    """The plan with one layer more held back; None when that changes nothing or does not fit the RAM."""
    try:
        smaller = yield from _draft(house, source, wanted.settings, wanted.wishes, draft.held + 1)
    except DoesNotFit:
        return None
    return None if _where(smaller.plan) == _where(draft.plan) else smaller


def _where(plan: Plan) -> object:
    return plan.layers, plan.head, plan.context, plan.kv_type, plan.ubatch


def _final(error: AllocationFailed, plan: Plan, retries: int) -> AllocationFailed:
    """The error with the next step."""
    tried = f" That was so after {_layers(retries)} had moved to RAM, too." if retries else ""
    context = max(plan.context // 2 // CONTEXT_STEP, 1) * CONTEXT_STEP
    steps = [f"Give less context: --ctx {context}"] if context < plan.context else []
    steps += ["use less of the GPU: --vram SIZE, or --device cpu"] if plan.on_gpu else ["use a smaller quantization"]
    hint = "; or ".join(steps) + "."
    return AllocationFailed(error.message + tried, hint[0].upper() + hint[1:], error.device)


def _keep(house: House, first: _Draft, last: _Draft) -> None:
    """Remember what worked after a failure; on a read-only disk it is found out again next time."""
    if last.held > first.held:
        with suppress(OutputError, InUse):
            remember(house.places, first.attempt, last.held, house.now())


def _moved(old: Plan, new: Plan) -> str:
    """What a retry puts elsewhere."""
    if new.expert_layers < old.expert_layers:
        count = old.expert_layers - new.expert_layers
        return f"The experts of {_layers(count)} move to RAM"
    if new.n_gpu_layers < old.n_gpu_layers:
        count = old.n_gpu_layers - new.n_gpu_layers
        return f"{_layers(count)} {'moves' if count == 1 else 'move'} to RAM"
    return "A part of the model moves to RAM"


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _about(settings: Settings, model: MoeModel, draft: _Draft, before: Plan | None) -> Iterator[str]:
    """What a person should know about the plan before it is loaded."""
    plan = draft.plan
    if note := experts_note(model, plan.experts_used):
        yield note
    yield from _about_context(settings.value("ctx"), plan, model)
    if settings.value("kv_type") is None and plan.kv_type != "f16":
        yield f"The KV cache is {plan.kv_type}, about half as large as f16; --kv-type f16 keeps it exact."
    if draft.known:
        yield (
            f"{_layers(draft.known)} less than would fit by the arithmetic: more had no room on the GPU when this was "
            "loaded before."
        )
    if before is not None and (change := _change(before, plan)):
        yield change


def _about_context(asked: int | None, plan: Plan, model: MoeModel) -> Iterator[str]:
    """What a person who asked for a context should know about the one that it became."""
    if asked is not None and asked != plan.context:
        yield f"--ctx {asked} becomes {plan.context}: llama.cpp takes multiples of {CONTEXT_STEP}."
    if asked is not None and asked > model.context_length:
        yield f"The model was trained for {model.context_length} tokens of context; answers may get worse past those."


def _change(before: Plan, plan: Plan) -> str:
    """How this load differs from the one before; empty when it does not."""
    for what, old, new in (
        ("layers with their experts in VRAM", before.expert_layers, plan.expert_layers),
        ("layers on the GPU", before.n_gpu_layers, plan.n_gpu_layers),
    ):
        if old != new:
            return f"The memory that is free has changed: {new} {what} now, {old} the last time."
    return ""
