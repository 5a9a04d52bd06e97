"""Rates of devices that nobody measured.

Knows published figures of common hardware, and what follows from a memory's speed; refuses to measure. Rates from here
are labelled "given" where a person said how fast the memory is, else "estimated". Where the figures come from:

- RAM of a desktop: two channels of DDR5-5600 have a peak of 90 GB/s, of DDR4-3200 51 GB/s; 60 is taken. Of such a peak
  decoding reached 61 to 84 %.
- CPU, batches: 50e9 bytes x tokens/s of Q4_K for each of eight cores (benchmarks/forecast.py on cores with AVX-512).
- CPU, attention: 0.4 us for a cached token and layer of Mixtral, which is 8192 multiply-adds (llama.cpp PR 20978).
- GPU, a card of 24 GB: its memory reads 936 GB/s (RTX 3090); llama.cpp reached 29 to 77 % of such peaks in decoding,
  half is taken. Batches: 3500 tokens/s of an 8B model in Q6_K and about that in Q4_0, 4.6 GB (llama.cpp PR 7860);
  of experts half of it, which is a guess. Attention: 5.3 ms for two tokens at 32768 cached ones of 32 layers (llama.cpp
  PR 15802 and 17505).
- PCIe 4.0 x16 carries 25 GB/s of pinned memory, and of mapped files about half (27 against 50 GB/s on PCIe 5.0).
- A remote device does not say what it is: it is taken for a desktop's CPU, behind gigabit Ethernet with 0.2 ms for a
  message and its answer.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mixchat.plan.forecast import ROUTED
from mixchat.plan.values import Device, Link, Machine, Rates

_ANY: Final = "F16"
_NEAR: Final = 0.7
_DESKTOP: Final = Rates(
    bandwidth=60e9, decode={_ANY: 42e9}, prefill={_ANY: 400e9}, attention=20e9, node=5e-6, basis="estimated"
)
_GPU: Final = Rates(
    bandwidth=936e9,
    decode={_ANY: 468e9},
    prefill={_ANY: 16e12, _ANY + ROUTED: 8e12},
    attention=1.5e12,
    node=3e-6,
    basis="estimated",
)
_PCIE: Final = Link(mapped=12.5e9, pinned=25e9, latency=2e-5)
_SHARED: Final = Link(mapped=float("inf"), pinned=float("inf"), latency=2e-5)
_NETWORK: Final = Link(mapped=0.11e9, pinned=0.11e9, latency=2e-4)


def complete(machine: Machine, speeds: Sequence[float] = ()) -> Machine:
    """A machine of which every rate is known, given or estimated.

    Args:
        machine: What was measured of it stays, but for memory that a person says is faster or slower.
        speeds: What memory really delivers, bytes/s: the RAM first, then each GPU in order; it may end early.
    """
    ram, *gpus = speeds or (None,)
    cpu = _at(machine.cpu or _DESKTOP, ram)
    extra = _at(machine.cpu_extra, ram) if machine.cpu_extra else cpu
    given = dict(zip((gpu.name for gpu in machine.gpus), gpus, strict=False))
    devices = tuple(
        _complete(device, cpu, given.get(device.name)) if device.kind == "gpu" else device for device in machine.devices
    )
    return replace(machine, cpu=cpu, cpu_extra=extra, devices=devices)


def _complete(device: Device, cpu: Rates, speed: float | None) -> Device:
    rates = device.rates or (_DESKTOP if device.remote else _unified(cpu) if device.unified else _GPU)
    link = device.link or (_NETWORK if device.remote else _SHARED if device.unified else _PCIE)
    return replace(device, rates=_at(rates, speed), link=link)


def _unified(cpu: Rates) -> Rates:
    """A GPU that shares the RAM reads no faster than that."""
    share = min(1.0, cpu.bandwidth / _GPU.bandwidth)
    decode = {kind: rate * share for kind, rate in _GPU.decode.items()}
    return replace(_GPU, bandwidth=_GPU.bandwidth * share, decode=decode)


def _at(rates: Rates, speed: float | None) -> Rates:
    """The same processor with memory of another speed.

    Measured kernels that were bound by the memory follow it, others stay as they are; a processor that nobody measured
    is bound by its memory.
    """
    if speed is None:
        return rates
    if rates.basis == "estimated":
        decode = dict.fromkeys(rates.decode, speed)
    else:
        decode = {kind: _follow(rate, rates.bandwidth, speed) for kind, rate in rates.decode.items()}
    return replace(rates, bandwidth=speed, decode=decode, basis="given")


def _follow(rate: float, before: float, now: float) -> float:
    return rate * now / before if rate > _NEAR * before else min(rate, now)
