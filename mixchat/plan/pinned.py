"""Tensors that the person puts somewhere by name: `--override 'REGEX=DEVICE'`.

Knows which tensors a pattern takes and what then is left to be placed; refuses to know where the rest goes.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mixchat.errors import UsageError
from mixchat.gguf.header import TensorInfo
from mixchat.gguf.model import Layer, MoeModel
from mixchat.gguf.roles import Role, role_of
from mixchat.plan.values import CPU, Machine, Override

_HINT = "Patterns search in tensor names, such as 'blk\\.(0|1)\\.ffn_.*_exps=CPU'."


@dataclass(frozen=True, slots=True)
class Pinned:
    """What overrides leave.

    Attributes:
        model: The model without the pinned tensors' bytes.
        weights: Pinned bytes by device.
        parts: Devices of the pinned expert matrices, by layer and part.
        overrides: The person's, with the devices' own names.
    """

    model: MoeModel
    weights: Mapping[str, int]
    parts: Mapping[tuple[int, str], str]
    overrides: tuple[Override, ...]


def pin(model: MoeModel, machine: Machine, overrides: tuple[Override, ...]) -> Pinned:
    """Take the tensors out that the overrides match; the first match counts, as in llama.cpp.

    Raises:
        UsageError: A pattern is no regular expression or takes no tensor, or there is no such device.
    """
    patterns = [(_compiled(override), _device(override, machine)) for override in overrides]
    taken: list[tuple[Role, int, str]] = []
    parts: dict[tuple[int, str], str] = {}
    unused = {override.pattern for override in overrides}
    for tensor in model.tensors if patterns else ():
        found = next((pair for pair in patterns if pair[0].search(tensor.name)), None)
        if found is not None:
            role, device = role_of(tensor.name), found[1]
            taken.append((role, _held(model, tensor), device))
            parts |= {(role.layer or 0, part): device for part in _parts(role) if tensor.name.endswith(".weight")}
            unused.discard(found[0].pattern)
    if unused:
        raise UsageError(f"The override {min(unused)!r} takes no tensor of this model.", _HINT)
    weights: Counter[str] = Counter()
    for _role, size, device in taken:
        weights[device] += size
    names = tuple(Override(pattern.pattern, device) for pattern, device in patterns)
    return Pinned(_without(model, taken), weights, parts, names)


def _compiled(override: Override) -> re.Pattern[str]:
    try:
        return re.compile(override.pattern)
    except re.error as exc:
        raise UsageError(f"{override.pattern!r} is no regular expression: {exc}.", _HINT) from exc


def _device(override: Override, machine: Machine) -> str:
    names = [CPU, *(gpu.name for gpu in machine.gpus)]
    found = next((name for name in names if name.lower() == override.device.lower()), None)
    if found is None:
        raise UsageError(f"There is no device {override.device}.", f"There are {', '.join(names)}.")
    return found


def _held(model: MoeModel, tensor: TensorInfo) -> int:
    """Bytes that an override moves; a token embedding that is the head too is not moved as the embedding."""
    return 0 if model.tied and tensor.name == "token_embd.weight" else tensor.nbytes


def _parts(role: Role) -> tuple[str, ...]:
    return ("up", "gate") if role.part == "gate_up" else (role.part,) if role.routed else ()


def _without(model: MoeModel, taken: list[tuple[Role, int, str]]) -> MoeModel:
    gone: Counter[tuple[int | None, str]] = Counter()
    for role, size, _device in taken:
        if role.part == "gate_up":
            gone[role.layer, "up"] += size - size // 2
            gone[role.layer, "gate"] += size // 2
        else:
            gone[role.layer, role.part] += size
    if not gone:
        return model
    return replace(
        model,
        layers=tuple(_layer(layer, gone) for layer in model.layers),
        token_embd=model.token_embd - gone[None, "token_embd"],
        output=model.output - gone[None, "output"],
        other=model.other - gone[None, "other"],
    )


def _layer(layer: Layer, gone: Counter[tuple[int | None, str]]) -> Layer:
    sizes = {part: getattr(layer, part) - gone[layer.index, part] for part in ("dense", "up", "gate", "down")}
    return replace(layer, **sizes)
