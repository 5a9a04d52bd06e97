"""Models and machines that the plan's tests share, and llama.cpp's own rule of where a tensor goes."""

import re
from collections import Counter
from dataclasses import replace
from functools import cache

from mixchat.gguf.header import Header, TensorInfo, parse_header
from mixchat.gguf.model import MoeModel, describe
from mixchat.gguf.roles import role_of
from mixchat.plan.values import CPU, Device, Link, Machine, Plan, Rates
from tests.builders import mixtral_header

GIB = 1 << 30
MIB = 1 << 20

CPU_RATES = Rates(40e9, {"Q4_K": 25e9, "Q6_K": 30e9, "Q8_0": 35e9}, {"Q4_K": 400e9}, 30e9, 2e-6, "measured")
EXTRA_RATES = replace(CPU_RATES, prefill={"Q4_K": 800e9})
GPU_RATES = Rates(600e9, {"Q4_K": 500e9}, {"Q4_K": 20e12}, 2e12, 3e-6, "measured")
LINK = Link(12e9, 24e9, 2e-5)


@cache
def header_of(quant: str) -> Header:
    """The real Mixtral's header in a quantization of `tests.builders.QUANTS`."""
    return parse_header(mixtral_header(quant))


@cache
def mixtral(quant: str = "static/Q4_K_M") -> MoeModel:
    return describe(header_of(quant))


def _named(tensor: TensorInfo, name: str, nbytes: int) -> TensorInfo:
    return replace(tensor, name=name, nbytes=nbytes)


@cache
def tied() -> MoeModel:
    """The token embedding is the head too."""
    header = header_of("static/Q4_K_M")
    kept = tuple(tensor for tensor in header.tensors if tensor.name != "output.weight")
    return describe(replace(header, tensors=kept))


@cache
def joined() -> MoeModel:
    """Gate and up of all experts are one tensor."""
    header = header_of("static/Q4_K_M")
    tensors = [tensor for tensor in header.tensors if "ffn_up_exps" not in tensor.name]
    renamed = (
        _named(tensor, tensor.name.replace("gate_exps", "gate_up_exps"), 2 * tensor.nbytes)
        if "ffn_gate_exps" in tensor.name
        else tensor
        for tensor in tensors
    )
    return describe(replace(header, tensors=tuple(renamed)))


@cache
def dense_first() -> MoeModel:
    """Its first two layers have no routed experts but a dense block, as some mixtures do."""
    header = header_of("static/Q4_K_M")
    renamed = (
        _named(tensor, tensor.name.replace("_exps", ""), tensor.nbytes // 8)
        if re.match(r"blk\.[01]\.ffn_\w+_exps", tensor.name)
        else tensor
        for tensor in header.tensors
    )
    return describe(replace(header, tensors=tuple(renamed)))


@cache
def dense() -> MoeModel:
    """No layer has experts."""
    header = header_of("static/Q4_K_M")
    renamed = (
        _named(tensor, tensor.name.replace("_exps", ""), tensor.nbytes // 8) if "_exps" in tensor.name else tensor
        for tensor in header.tensors
        if "gate_inp" not in tensor.name
    )
    return describe(replace(header, tensors=tuple(renamed)))


def gpu(index: int, free: int, *, rates: bool = True) -> Device:
    fast = GPU_RATES if rates else None
    return Device(f"CUDA{index}", "gpu", free, free, rates=fast, link=LINK if rates else None)


def machine(ram: int, *vram: int, rates: bool = True) -> Machine:
    """A machine with that much memory, in bytes; with rates, its speed is known."""
    devices = (*(gpu(index, free, rates=rates) for index, free in enumerate(vram)), Device(CPU, "cpu", ram, ram))
    if not rates:
        return Machine(devices, ram)
    return Machine(devices, ram, CPU_RATES, EXTRA_RATES, frozenset({"Q4_K", "Q6_K"}))


def resolved(model: MoeModel, plan: Plan) -> Counter[str]:
    """Bytes of weights by device, by llama.cpp's rule: layers from the back, divided in order, then overrides."""
    held: Counter[str] = Counter()
    by_layer = _by_layer(model.n_layers, plan)
    for tensor in model.tensors:
        role = role_of(tensor.name)
        if tensor.name == "token_embd.weight":
            home = CPU
            if model.tied and by_layer[-1] != CPU:
                held[by_layer[-1]] += tensor.nbytes
        else:
            home = by_layer[-1 if role.layer is None else role.layer]
        held[_overridden(tensor.name, plan) or home] += tensor.nbytes
    return held


def _overridden(name: str, plan: Plan) -> str | None:
    return next((each.device for each in plan.overrides if re.search(each.pattern, name)), None)


def _by_layer(layers: int, plan: Plan) -> list[str]:
    """The device of each layer and, last, of the head."""
    start = layers + 1 - plan.n_gpu_layers
    on_gpus = [name for name, count in zip(plan.devices, plan.tensor_split, strict=True) for _ in range(count)]
    return [CPU] * start + on_gpus
