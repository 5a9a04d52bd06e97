"""What a model would be, before a byte of its weights is fetched.

Knows the order of the questions (what is meant, what its header says, whether machine and disk have the room) and which
quantization suits this machine; refuses to know how a header is fetched and how the answer is shown.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mixchat.app.house import House
from mixchat.app.machine import machine_of
from mixchat.errors import BadModel, DoesNotFit, MixchatError, NetworkError, NotFound
from mixchat.gguf.model import MoeModel, describe
from mixchat.gguf.shards import join
from mixchat.models.download import RESERVE
from mixchat.models.header_file import read_header
from mixchat.models.hub_cache import cached, can_link
from mixchat.models.offers import Offer, offers, resolved, siblings
from mixchat.models.reference import Reference, parse_reference
from mixchat.models.remote import RemoteFile
from mixchat.models.remote_header import read_remote
from mixchat.models.stored import folder_of, free_bytes, missing_bytes, origin_of
from mixchat.plan.experts import with_experts_used
from mixchat.plan.memory import DEFAULT_UBATCH, compute_bytes, default_context, kv_bytes, round_context
from mixchat.plan.modes import RAM_RESERVE
from mixchat.plan.place import place
from mixchat.plan.units import format_bytes
from mixchat.plan.values import Device, Machine, Plan, Wishes
from mixchat.store.settings import built_in

_MERGED: Final = "mixtral"
_FALLBACK: Final = "Q4_K_M"
_FIRST_GUESS: Final = 3 << 29
"""Bytes besides the weights before a header is read: Mixtral takes 1.3 GiB at 8192 tokens of context."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """A model that is not on this machine.

    Attributes:
        name: The reference that means just this model.
        files: What would be fetched; of shards the first comes first.
        model: What its header says.
        plan: Where it would lie; None when it does not fit.
        disk_free: Bytes that the models' disk has free.
        disk_needed: Bytes that are still to be fetched.
        reasons: Why this quantization, and why it lies there, in sentences.
        problem: Why it is better not fetched; None when all is well.
    """

    name: str
    files: tuple[RemoteFile, ...]
    model: MoeModel
    plan: Plan | None
    disk_free: int
    disk_needed: int
    reasons: tuple[str, ...]
    problem: MixchatError | None


@dataclass(frozen=True, slots=True)
class _Here:
    """What there is room for: the machine, the wishes, and free bytes of the disk."""

    machine: Machine
    wishes: Wishes
    disk: int

    @property
    def memory(self) -> int:
        """Bytes of RAM and of the GPUs' own memory together, without their margins: no model larger than that fits."""
        return max(0, self.machine.ram_available - RAM_RESERVE) + sum(map(self._room, self.machine.gpus))

    def beside(self, model: MoeModel) -> int:
        """Bytes that the model needs besides its weights, with the smallest KV cache that the plan may choose."""
        context = round_context(self.wishes.context or default_context(model))
        kv_type = self.wishes.kv_type or "q8_0"
        running = with_experts_used(model, self.wishes.experts_used)
        return kv_bytes(model, context, kv_type) + compute_bytes(running, DEFAULT_UBATCH, context)

    def _room(self, gpu: Device) -> int:
        names = self.wishes.devices
        if gpu.unified or (names is not None and gpu.name.lower() not in {name.lower() for name in names}):
            return 0
        room = max(0, gpu.free - self.wishes.margin)
        return room if gpu.budget is None else min(room, gpu.budget)


def preflight(house: House, text: str, wishes: Wishes | None = None, machine: Machine | None = None) -> Preflight:
    """Find out what a reference means and whether it can be had here; only headers are fetched.

    1. The reference becomes offers: one, or all quantizations when none is named.
    2. Of several the largest that fits memory and disk is taken, else the smallest.
    3. Its header is read, and the model is placed on this machine.
    4. What stands against it becomes `problem`: legacy experts first, then memory, then the disk. `wishes.force`
       leaves out the first two.

    Args:
        house: The outside.
        text: A model reference.
        wishes: What is wished; None: nothing special.
        machine: Where it is to run; None: here.

    Raises:
        UsageError: `text` is no reference to a model that can be fetched.
        NotFound: There is no such model.
        NetworkError: The hub cannot be reached or says no.
        BadModel: The file is damaged or no model.
        EngineError: llama.cpp fails to name its devices.
    """
    reference = parse_reference(text, house.registry.entries)
    found = offers(house.registry, house.hub, reference)
    here = _Here(machine or machine_of(house, built_in()), wishes or Wishes(), free_bytes(house.places.models))
    check = _best(house, found, here) if len(found) > 1 else _look(house, found[0], here)
    return _with_smaller(house, reference, check, here) if _too_large(check) and len(found) == 1 else check


def _best(house: House, found: Sequence[Offer], here: _Here) -> Preflight:
    """Choose by size. What a model needs besides its weights is known from the first header on; then choose again."""
    seen: dict[str, Preflight] = {}
    beside = _FIRST_GUESS
    while True:
        small_enough = (offer for offer in found if _may_fit(offer, here, beside))
        possible = [offer for offer in small_enough if offer.name not in seen or not _too_large(seen[offer.name])]
        offer = possible[0] if possible else found[-1]
        if offer.name in seen:
            check = seen[offer.name]
            why = _why(offer, len(found), here, beside) if possible else _why_none(offer, len(found))
            return replace(check, reasons=(why, *check.reasons))
        seen[offer.name] = _look(house, offer, here)
        beside = here.beside(seen[offer.name].model)


def _may_fit(offer: Offer, here: _Here, beside: int) -> bool:
    return offer.nbytes + beside <= here.memory and offer.nbytes + RESERVE <= here.disk


def _too_large(check: Preflight) -> bool:
    return isinstance(check.problem, DoesNotFit)


def _why(offer: Offer, count: int, here: _Here, beside: int) -> str:
    size = f"{format_bytes(offer.nbytes)} of weights and about {format_bytes(beside)} beside them"
    return (
        f"{offer.quantization or offer.name} is the largest of {count} that fits: {size} in "
        f"{format_bytes(here.memory)} of memory, with {format_bytes(here.disk)} free on the disk."
    )


def _why_none(offer: Offer, count: int) -> str:
    return f"None of the {count} fits this machine; {offer.quantization or offer.name} is the smallest."


def _look(house: House, offer: Offer, here: _Here) -> Preflight:
    """Read an offer's header and see whether it can be had here."""
    offer, copies, model = read_offer(house, offer)
    plan, too_large = _placed(model, here)
    needed = _needed(house, offer, copies)
    problem = _legacy(house, offer, model, here.wishes) or too_large or _disk_problem(house, needed, here)
    reasons = plan.reasons if plan else ()
    return Preflight(offer.name, offer.files, model, plan, here.disk, needed, reasons, problem)


def read_offer(house: House, offer: Offer) -> tuple[Offer, Mapping[RemoteFile, Path | None], MoeModel]:
    """Read what an offer's header says, from the hub library's cache or from the hub.

    Returns:
        The offer with its files, their copies in the cache, and the model.

    Raises:
        NetworkError: The hub cannot be reached or says no.
        NotFound: The hub no longer has the file.
        BadModel: The file is damaged or no model.
    """
    offer = resolved(house.hub, offer)
    copies = {file: cached(house.cache, file) if house.cache else None for file in offer.files}
    here_already = [path for path in copies.values() if path is not None]
    whole = len(here_already) == len(copies)
    return (
        offer,
        copies,
        describe(join([read_header(path) for path in here_already]) if whole else read_remote(house.hub, copies)),
    )


def _needed(house: House, offer: Offer, copies: Mapping[RemoteFile, Path | None]) -> int:
    """Bytes that the disk must take; a link to a copy on the same disk takes none."""
    models = house.places.models
    taking = [file for file, copy in copies.items() if copy is None or not can_link(copy, models)]
    return missing_bytes(house.places, folder_of(house.places, offer.name, origin_of(offer.files)), taking)


def _placed(model: MoeModel, here: _Here) -> tuple[Plan | None, DoesNotFit | None]:
    try:
        return place(model, here.machine, here.wishes), None
    except DoesNotFit as exc:
        return None, exc


def _legacy(house: House, offer: Offer, model: MoeModel, wishes: Wishes) -> BadModel | None:
    """Files of before April 2024; llama.cpp no longer loads them."""
    if model.layout != "legacy" or wishes.force:
        return None
    entry = house.registry.get(_MERGED)
    known = {item.quantization: item for item in entry.files} if entry else {}
    good = known.get(model.quantization) or known.get(_FALLBACK)
    works = f"{good.file} of {good.repo} works: mixchat pull {_MERGED}:{good.quantization}. " if good else ""
    return BadModel(
        f"{offer.name} stores each expert as a tensor of its own (legacy layout of before April 2024); llama.cpp no "
        "longer loads that.",
        f"{works}Or fetch this one with --force and convert it with: mixchat upgrade PATH",
    )


def _disk_problem(house: House, needed: int, here: _Here) -> DoesNotFit | None:
    short_by = needed + RESERVE - here.disk
    if short_by <= 0 or not needed:
        return None
    return DoesNotFit(
        f"{format_bytes(needed)} are to be fetched and {format_bytes(here.disk)} are free on the disk of "
        f"{house.places.models} ({format_bytes(RESERVE)} stay free).",
        "disk",
        short_by,
        (f"Free {format_bytes(short_by)}, or set MIXCHAT_MODELS to a folder on another disk.",),
    )


def _with_smaller(house: House, reference: Reference, check: Preflight, here: _Here) -> Preflight:
    """Name a quantization of the same model that fits, in front of the other remedies."""
    error = check.problem
    assert isinstance(error, DoesNotFit)  # noqa: S101 - asked before
    beside = here.beside(check.model)
    smaller = None
    with suppress(NetworkError, NotFound, BadModel):
        others = siblings(house.registry, house.hub, reference)
        possible = (offer for offer in others if offer.name != check.name and _may_fit(offer, here, beside))
        smaller = next((offer for offer in possible if not _too_large(_look(house, offer, here))), None)
    if smaller is None:
        return check
    force = "" if error.what == "disk" else "; --force goes on all the same"
    hint = f"{smaller.quantization} fits: mixchat pull {smaller.name}{force}."
    return replace(check, problem=DoesNotFit(error.message, error.what, error.short_by, (hint, *error.remedies)))
