"""Whether a loaded model stays in memory, told by how it answers.

Knows what page faults and a collapse of speed mean; refuses to know how they are measured.
"""

from collections.abc import Iterator
from typing import Final

from mixchat.app.events import AnswerEvent, Notice, Opened
from mixchat.app.source import Source
from mixchat.engine import platform
from mixchat.engine.events import Finished
from mixchat.models.registry import KnownFile
from mixchat.plan.memory import CONTEXT_STEP
from mixchat.plan.units import format_bytes
from mixchat.plan.values import CPU, Plan

PAGE: Final = 4096
FAULT_SHARE: Final = 0.001
FEWEST_FAULTS: Final = 1024
"""A model pages when the pages that an answer had to wait for are more than 0.1 % of the bytes that it had to read from
RAM, and more than 1024. The share is small because one fault often brings 32 pages (the kernel reads ahead 128 KiB)."""

FAR_BELOW: Final = 1 / 3
_ENOUGH_TOKENS: Final = 16


class Watch:
    """Looks at the answers of one loaded model; speaks up once.

    Args:
        source: The model's file and what the registry knows of it.
        opened: How it was loaded.
    """

    def __init__(self, source: Source, opened: Opened) -> None:
        self._source = source
        self._opened = opened
        self._told = False
        self._cold = not opened.request.read_ahead and opened.loaded.resident < opened.loaded.mapped

    def over(self, events: Iterator[AnswerEvent]) -> Iterator[AnswerEvent]:
        """Pass an answer's events through; what there is to say comes behind the last one."""
        for event in events:
            yield event
            if isinstance(event, Finished) and (text := self._verdict(event)):
                self._told = True
                yield Notice(text)

    def paging(self, finished: Finished) -> str:
        """What is wrong after an answer that shared its batches with others: its own speed tells nothing then."""
        cold, self._cold = self._cold, False
        if self._told or cold or not self._pages(finished):
            return ""
        self._told = True
        return self._about_paging(finished)

    def _verdict(self, finished: Finished) -> str:
        """What is wrong, in words; empty when nothing is.

        1. The first answer reads what no read-ahead brought into memory: its faults count only when it decodes slowly.
        2. Many page faults: the model does not stay in memory.
        3. None, but a GPU at less than a third of the forecast: a driver that spills VRAM into RAM gives no other sign.
        """
        cold, self._cold = self._cold, False
        if self._told:
            return ""
        slow = self._is_slow(finished)
        if self._pages(finished) and (slow or not cold):
            return self._about_paging(finished)
        return self._about_spilling(finished) if slow and self._opened.plan.on_gpu and not cold else ""

    def _is_slow(self, finished: Finished) -> bool:
        forecast = self._opened.plan.forecast
        if forecast is None or forecast.basis != "measured" or finished.usage.completion_tokens < _ENOUGH_TOKENS:
            return False
        return 0 < finished.timings.decode_tps < FAR_BELOW * forecast.decode_tps

    def _pages(self, finished: Finished) -> bool:
        faults = finished.timings.major_faults
        return faults > FEWEST_FAULTS and faults * PAGE > FAULT_SHARE * self._bytes_read(finished)

    def _bytes_read(self, finished: Finished) -> int:
        """Bytes of weights that an answer reads from RAM: all for each batch of the prompt, the active for a token."""
        usage, model, plan = finished.usage, self._opened.model, self._opened.plan
        in_ram = plan.share(CPU).footprint.weights
        batches = -(-(usage.prompt_tokens - usage.cached_tokens) // plan.ubatch)
        per_token = in_ram * model.active_bytes_per_token // max(model.weights, 1)
        return batches * in_ram + usage.completion_tokens * per_token

    def _about_paging(self, finished: Finished) -> str:
        plan = self._opened.plan
        missing = _missing_ram(plan)
        lack = f"about {format_bytes(missing)} of RAM are missing" if missing else "other programs took the RAM"
        return (
            f"{self._opened.name} does not stay in memory: the answer waited {finished.timings.major_faults} times for "
            f"the disk; {lack}.{_remedy(self._source, plan, missing)}"
        )

    def _about_spilling(self, finished: Finished) -> str:
        forecast = self._opened.plan.forecast
        assert forecast is not None  # noqa: S101 - asked before
        names = " and ".join(self._opened.plan.devices)
        return (
            f"Decoding at {finished.timings.decode_tps:.1f} tokens/s is far below the forecast of "
            f"{forecast.decode_tps:.1f}: {names} may have spilled into RAM, as drivers on Windows do, or something "
            "else keeps the machine busy. A smaller --vram leaves more room."
        )


def _missing_ram(plan: Plan) -> int:
    """Bytes that the plan lacked, or that a mapped file lacks by now; 0 when neither explains it."""
    share = plan.share(CPU)
    lacked = share.footprint.total - share.budget
    lacks = share.footprint.weights - platform.ram_available() if plan.load_mode == "mmap" else 0
    return max(lacked, lacks, 0)


def _remedy(source: Source, plan: Plan, missing: int) -> str:
    """The largest quantization of the same model that fits, or a context whose cache makes room."""
    fits = _largest(source, source.model.file_bytes - missing)
    if missing and fits and source.entry:
        name = f"{source.entry.alias}:{fits.quantization}"
        return f" {fits.quantization} ({format_bytes(fits.nbytes)}) fits: mixchat pull {name}"
    cache = plan.share(CPU).footprint.kv
    half = plan.context // 2 // CONTEXT_STEP * CONTEXT_STEP
    if 0 < missing <= cache // 2 and half:
        return f" --ctx {half} needs {format_bytes(cache // 2)} less."
    return " Close other programs, or use a smaller model."


def _largest(source: Source, room: int) -> KnownFile | None:
    known = source.entry.files if source.entry else ()
    smaller = [file for file in known if file.nbytes < source.model.file_bytes and file.nbytes <= room]
    return max(smaller, key=lambda file: file.nbytes, default=None)
