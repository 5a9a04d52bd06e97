"""What a person wants of a plan, from the settings.

Knows which settings are wishes and which exclude each other; refuses to know the machine and what a plan makes of them.
"""

import re
import warnings
from typing import Final, Literal

from mixchat.errors import UsageError
from mixchat.plan.values import LoadMode, Override, Wishes
from mixchat.store.settings import Settings

ONLY_CPU: Final = ("cpu",)
_ANYWHERE: Final = ("auto",)
_ALONE: Final = ("auto", "cpu")
_STRANGE: Final = re.compile(r"\\(?![dDwWsSbBfnrtv])[A-Za-z]|\(\?[^:=!]|(?<!\\)\{(?!\d+(,\d*)?\})|[*+?}]\+")
"""What Python takes in a regular expression and C++ does not: most letters escaped, groups with names or flags,
look-behind, braces that count nothing, quantifiers that give nothing back."""


def wishes_of(settings: Settings, *, force: bool = False, extra_buffers: bool = True, held_back: int = 0) -> Wishes:
    """The wishes among the settings.

    Args:
        settings: In force.
        force: Go on although it does not fit.
        extra_buffers: False where this build of llama.cpp failed its self test.
        held_back: Layers whose experts an earlier allocation failure moved to RAM.

    Raises:
        UsageError: A pattern is no regular expression, or two settings contradict each other.
    """
    mode = settings.value("load_mode")
    load_mode: LoadMode | None = None if mode == "auto" else mode
    return Wishes(
        context=settings.value("ctx"),
        kv_type=settings.value("kv_type"),
        ubatch=settings.value("ubatch"),
        load_mode=load_mode,
        devices=_devices(settings),
        gpu_layers=_layers(settings, "gpu_layers"),
        expert_layers=_layers(settings, "expert_layers"),
        overrides=tuple(_override(text, settings.place("override")) for text in settings.value("override") or ()),
        extra_buffers=extra_buffers,
        held_back=held_back,
        experts_used=settings.value("experts_used"),
        force=force,
    )


def _devices(settings: Settings) -> tuple[str, ...] | None:
    asked = settings.value("device")
    plain = tuple(dict.fromkeys(name.lower() for name in asked))
    if plain == _ANYWHERE:
        return None
    if plain == ONLY_CPU:
        return ONLY_CPU
    if lonely := next((name for name in _ALONE if name in plain), None):
        raise UsageError(
            f"{settings.place('device')}: {lonely} stands beside {','.join(each for each in asked if each != lonely)}.",
            "Give auto, cpu, or the names of GPUs.",
        )
    return asked


def _layers(settings: Settings, name: Literal["gpu_layers", "expert_layers"]) -> int | None:
    """A number of layers; left out where a stronger setting asks for the CPU alone."""
    count = settings.value(name)
    if not count or _devices(settings) != ONLY_CPU:
        return count
    if settings.outranks("device", name):
        return None
    raise UsageError(
        f"{settings.place(name)} {count} needs a GPU, and {settings.place('device')} asks for the CPU alone.",
        f"Leave out {settings.place(name)}, or give --device auto.",
    )


def _override(text: str, where: str) -> Override:
    pattern, _, device = text.rpartition("=")
    if reason := _mistake(pattern):
        raise UsageError(
            f"{where}: {pattern!r} is no regular expression: {reason}.",
            r"Write it like 'blk\.[0-9]\.ffn_(up|gate|down)_exps=CPU'.",
        )
    return Override(pattern, device.strip())


def _mistake(pattern: str) -> str:
    """Why it is no regular expression that Python and C++ understand alike; empty when it is."""
    if _STRANGE.search(pattern):
        return "C++ does not know all of its syntax"
    re.purge()  # a pattern that is compiled already warns no more
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as exc:
        return str(exc)
    return ""
