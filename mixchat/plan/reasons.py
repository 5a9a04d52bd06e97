"""Why a model lies where it lies, in sentences.

Knows the words; refuses to decide anything: it reads a plan that is made.
"""

from collections.abc import Iterator, Sequence

from mixchat.gguf.model import MoeModel
from mixchat.plan.experts import experts_note
from mixchat.plan.memory import CONTEXT_STEP, DEFAULT_UBATCH, default_context, round_context
from mixchat.plan.refusal import available_ram
from mixchat.plan.units import format_bytes
from mixchat.plan.values import CPU, Machine, Placement, Plan, Wishes

_PARTS = ("up", "gate", "down")


def explain(model: MoeModel, machine: Machine, wishes: Wishes, plan: Plan) -> tuple[str, ...]:
    """The reasons: where the model lies, then experts, context, KV cache, batches, load mode and RAM, if they matter.

    Args:
        model: As it was trained.
        machine: With the GPUs that may be used.
        wishes: That were heard.
        plan: That came of them.
    """
    note = experts_note(model, plan.experts_used)
    return (
        *_where(model, machine, wishes, plan),
        *([note] if note else []),
        *_context(model, wishes, plan),
        *_kv(wishes, plan),
        *_batches(model, wishes, plan),
        *_ram(model, machine, plan),
    )


def ranges(numbers: Sequence[int]) -> str:
    """Numbers such as `0-3, 7, 9-10`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _where(model: MoeModel, machine: Machine, wishes: Wishes, plan: Plan) -> Iterator[str]:
    if wishes.overrides:
        yield "Tensors lie where --override puts them, the others as follows."
    if not plan.on_gpu:
        yield _why_cpu(machine, wishes, plan)
        return
    names = " and ".join(plan.devices)
    count = model.n_layers
    whole = plan.n_gpu_layers == count + 1
    if whole and plan.expert_layers == count:
        yield f"All of it fits {names}."
    elif whole:
        yield from _hybrid(model, plan, names, asked=wishes.expert_layers is not None)
    else:
        yield _tail(model, plan, names, asked=wishes.gpu_layers is not None)
    if wishes.devices is None and (idle := [gpu.name for gpu in machine.gpus if gpu.name not in plan.devices]):
        yield f"Without {' and '.join(idle)} it is faster, or there is no room for a layer."
    if wishes.held_back:
        layers = "one layer" if wishes.held_back == 1 else f"{wishes.held_back} layers"
        yield f"An earlier load failed for lack of memory there: {layers} less than would fit by the numbers."


def _tail(model: MoeModel, plan: Plan, names: str, *, asked: bool) -> str:
    last = plan.n_gpu_layers - 1
    layers = f"the last {last} and the head fit" if last else "only the head fits"
    if asked:
        layers = f"the last {last} and the head, as asked, lie on" if last else "only the head, as asked, lies on"
    experts = ", without their experts" if last and model.n_experts and not plan.expert_layers else ""
    return f"Of {model.n_layers} layers {layers} {names}{experts}; the rest runs on the CPU."


def _why_cpu(machine: Machine, wishes: Wishes, plan: Plan) -> str:
    if plan.devices:
        return f"Nothing else is on {' and '.join(plan.devices)}."
    if wishes.devices is not None:
        return "The CPU was asked for."
    if wishes.gpu_layers == 0:
        return "No layers on the GPU were asked for, so everything runs on the CPU."
    if not machine.gpus:
        return "There is no GPU that llama.cpp can use, so everything runs on the CPU."
    names = " and ".join(f"{gpu.name} ({format_bytes(_budget(gpu.free, gpu.budget, wishes))})" for gpu in machine.gpus)
    if any(gpu.unified for gpu in machine.gpus):
        return f"The model does not fit {names} as a whole, and a split on shared memory is slower than the CPU alone."
    return f"What would fit {names} does not make it faster, so everything runs on the CPU."


def _budget(free: int, budget: int | None, wishes: Wishes) -> int:
    room = max(0, free - wishes.margin)
    return room if budget is None else min(room, budget)


def _hybrid(model: MoeModel, plan: Plan, names: str, *, asked: bool) -> Iterator[str]:
    moe = [layer for layer in plan.layers if model.layers[layer.index].experts]
    there = [layer.index for layer in moe if layer.experts not in {None, CPU}]
    left = sum(_left(model, layer) for layer in moe)
    dense = "Attention, router, KV cache and head of all layers"
    if there:
        told = ", as asked" if asked else ""
        yield f"{dense} lie on {names}, beside them the experts of {len(there)} layers ({ranges(there)}){told}."
    elif asked:
        yield f"{dense} lie on {names}; no experts, as asked."
    else:
        yield f"{dense} lie on {names}; there is no room for a whole layer's experts."
    for layer in moe:
        parts = [part for part in _PARTS if getattr(layer, part) != CPU]
        if parts and CPU in {layer.up, layer.gate, layer.down}:
            yield f"Of layer {layer.index} the {' and '.join(parts)} experts fit too."
    rest = sum(1 for layer in moe if CPU in {layer.up, layer.gate, layer.down})
    yield f"The other experts, {format_bytes(left)} of {rest} layers, stay in RAM and are computed by the CPU."


def _left(model: MoeModel, layer: Placement) -> int:
    own = model.layers[layer.index]
    return sum(getattr(own, part) for part in _PARTS if getattr(layer, part) == CPU)


def _context(model: MoeModel, wishes: Wishes, plan: Plan) -> Iterator[str]:
    if wishes.context is None and plan.context > round_context(default_context(model)):
        yield f"A context of {plan.context} tokens moves nothing off the GPU, so it is given."
    if wishes.context is not None and wishes.context != plan.context:
        yield f"--ctx {wishes.context} becomes {plan.context}: llama.cpp takes multiples of {CONTEXT_STEP}."
    if wishes.context is not None and wishes.context > model.context_length:
        yield (
            f"The context of {wishes.context} tokens is more than the {model.context_length} that the model was "
            "trained for; answers may get worse past those."
        )


def _kv(wishes: Wishes, plan: Plan) -> Iterator[str]:
    if wishes.kv_type is None and plan.kv_type != "f16":
        why = "in f16 fewer layers would fit" if plan.on_gpu else "it needs about half the RAM of f16"
        yield f"The KV cache is q8_0: {why}. --kv-type f16 keeps it exact."


def _batches(model: MoeModel, wishes: Wishes, plan: Plan) -> Iterator[str]:
    if wishes.ubatch is None and plan.ubatch > DEFAULT_UBATCH:
        yield (f"Prompts run in batches of {plan.ubatch} tokens: each batch copies the experts in RAM to the GPU once.")
    if plan.load_mode == "copy" and wishes.load_mode is None:
        yield (
            "Weights are copied into pinned RAM, from where the GPU fetches them twice as fast for prompts."
            if plan.on_gpu and model.n_experts
            else "Weights are copied into RAM, repacked: mapped and repacked they would not fit."
        )


def _ram(model: MoeModel, machine: Machine, plan: Plan) -> Iterator[str]:
    share = plan.shares[-1]
    held = share.footprint
    yield (
        f"{model.name} {model.quantization} needs {format_bytes(held.total - held.copies)} of RAM "
        f"({format_bytes(held.weights)} of weights, {format_bytes(held.kv)} of KV cache, "
        f"{format_bytes(held.compute)} of compute buffers); {available_ram(machine)}."
    )
    if held.total > share.budget:
        yield f"{format_bytes(held.total - share.budget)} are missing; --force goes on all the same."
    if plan.extra_buffers and held.copies:
        yield f"llama.cpp's extra buffers, a second copy of {format_bytes(held.copies)} of the weights, fit too."
