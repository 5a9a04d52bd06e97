"""Where a model would lie and how fast it would be: what `mixchat plan` does.

Knows the order of the questions and where a header comes from; refuses to know how a placement is found and shown. No
weights are read or fetched, only headers.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from mixchat.app.events import Making, Notice
from mixchat.app.house import House
from mixchat.app.machine import Speeds, described_machine, rated, types_of
from mixchat.app.preflight import preflight, read_offer
from mixchat.app.source import Source, finding, loadable
from mixchat.app.what_if import Case, WhatIf, what_ifs
from mixchat.app.wishes import wishes_of
from mixchat.errors import BadModel, DoesNotFit, MixchatError, NetworkError, NotFound, NotPulled, UsageError
from mixchat.gguf.model import MoeModel, describe
from mixchat.models.finding import find
from mixchat.models.offers import Offer, offers, siblings
from mixchat.models.reference import Alias, HubRepo, LocalPath, parse_reference
from mixchat.models.shards import read_model
from mixchat.plan.experts import with_experts_used
from mixchat.plan.place import place
from mixchat.plan.values import Plan
from mixchat.store.settings import Settings

T = TypeVar("T")

_SAME: Final = 0.02
"""Files whose sizes differ by less are the same quantization, made in another way."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A model's placement.

    Attributes:
        name: The reference that means just this model.
        path: Its file; None when it is not on this machine.
        model: What its header says, with the experts used that were asked for.
        plan: Where it lies, or would lie if it fitted.
        problem: Why it does not fit.
        what_ifs: What changes would bring.
    """

    name: str
    path: Path | None
    model: MoeModel
    plan: Plan
    problem: DoesNotFit | None
    what_ifs: tuple[WhatIf, ...]


@dataclass(frozen=True, slots=True)
class Quantization:
    """One of a model's quantizations.

    Attributes:
        name: The reference that means it.
        quantization: As its name says.
        nbytes: Of its files.
        plan: Where it would lie; None when it does not fit or cannot be read.
        problem: Why there is no plan.
    """

    name: str
    quantization: str
    nbytes: int
    plan: Plan | None
    problem: MixchatError | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be planned.

    Attributes:
        reference: The model.
        speeds: What memory really delivers, bytes/s, the RAM first, then each GPU; empty: measured or estimated.
    """

    reference: str
    speeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Subject:
    """The model that is planned.

    Attributes:
        name: The reference that means just this.
        path: Its file; None when it is not on this machine.
        model: What its header says.
        offers: All its quantizations that can be had without asking for more than headers.
    """

    name: str
    path: Path | None
    model: MoeModel
    offers: tuple[Offer, ...]


Steps = Generator[Making | Notice, None, T]
"""What is told on the way to a value."""


def plan_model(house: House, settings: Settings, asked: Asked) -> Iterator[Making | Notice | Planned]:
    """Plan; ends with Planned.

    1. The model's header: of the file that is here, else of the one that `pull` would fetch.
    2. The machine's devices and their speed, measured if that is not known, or those that the person describes.
    3. The placement; when it does not fit, the reason, and the placement that is forced.
    4. What changes would bring. Of other quantizations those are looked at whose headers are here, or next to a model
       that is not.

    Raises:
        UsageError: A wish is impossible.
        NotFound: There is no such model.
        NetworkError: The model is not on this machine, and the hub cannot be reached or says no.
        BadModel: The file is damaged, no model, or of a kind that llama.cpp does not load.
        EngineError: llama.cpp fails.
    """
    subject = yield from _subject(house, settings, asked.reference)
    case = yield from _case(house, settings, asked, subject.model)
    plan, problem = _placed(case)
    changes = what_ifs(case, plan, _neighbours(house, subject))
    plan = plan or place(case.model, case.machine, replace(case.wishes, force=True))
    running = with_experts_used(subject.model, plan.experts_used)
    yield Planned(subject.name, subject.path, running, plan, problem, changes)


def compare(house: House, settings: Settings, asked: Asked) -> Iterator[Making | Notice | Quantization]:
    """Plan every quantization of a model, the largest first; those that cannot be placed have a problem.

    Raises:
        UsageError: A wish is impossible, or nobody knows other quantizations of the model.
        MixchatError: As `plan_model`.
    """
    subject = yield from _subject(house, settings, asked.reference)
    if not subject.offers:
        raise UsageError(
            f"Nobody knows other quantizations of {subject.name}.",
            "Name a model such as mixtral, or hf:owner/repo.",
        )
    yield Notice(f"Reading the headers of {len(subject.offers)} quantizations.")
    found = tuple(_headers(house, subject.offers))
    case = yield from _case(house, settings, asked, *(model for _offer, model in found if isinstance(model, MoeModel)))
    for offer, model in found:
        yield _row(offer, model, case)


def _case(house: House, settings: Settings, asked: Asked, *models: MoeModel) -> Steps[Case]:
    """What the first of some models is placed on, rated for all of them."""
    proof, _new = house.prove()
    machine = described_machine(house, settings)
    machine = yield from rated(house, settings, machine, types_of(*models), Speeds(asked.speeds, measure=True))
    return Case(models[0], machine, wishes_of(settings, extra_buffers=proof.extra_buffers))


def _subject(house: House, settings: Settings, text: str) -> Steps[_Subject]:
    """The model that a reference means, here or at the hub."""
    reference = parse_reference(text, house.registry.entries)
    with suppress(NotPulled):
        source = yield from finding(house, text, settings)
        loadable(source)
        return _Subject(source.name, source.path, source.model, _known_offers(house, source))
    check = preflight(house, text, wishes_of(settings), described_machine(house, settings))
    if isinstance(check.problem, BadModel):
        raise check.problem
    if isinstance(check.problem, DoesNotFit) and check.problem.what == "disk":
        yield Notice(check.problem.message)
    others = reference if isinstance(reference, Alias | LocalPath) else HubRepo(reference.repo)
    found = siblings if isinstance(others, Alias) else offers
    return _Subject(check.name, None, check.model, found(house.registry, house.hub, others))


def _known_offers(house: House, source: Source) -> tuple[Offer, ...]:
    """The quantizations that the registry knows of a model that is here."""
    if source.entry is None or not source.entry.files:
        return ()
    return siblings(house.registry, house.hub, Alias(source.entry.alias))


def _neighbours(house: House, subject: _Subject) -> tuple[MoeModel, ...]:
    """The next smaller and larger quantization; of a model that is here, of those that are here too."""
    found = [offer for offer in subject.offers if subject.path is None or _file_of(house, offer) is not None]
    size = subject.model.file_bytes
    smaller = next((offer for offer in found if offer.nbytes < size * (1 - _SAME)), None)
    larger = next((offer for offer in reversed(found) if offer.nbytes > size * (1 + _SAME)), None)
    models = []
    for offer in (smaller, larger):
        with suppress(NetworkError, NotFound, BadModel):
            models += [_read(house, offer)] if offer is not None else []
    return tuple(models)


def _headers(house: House, found: Sequence[Offer]) -> Iterator[tuple[Offer, MoeModel | MixchatError]]:
    """What each offer's header says, or why it cannot be read; after a failure of the network none is asked for."""
    offline: NetworkError | None = None
    for offer in found:
        try:
            if offline is not None and _file_of(house, offer) is None:
                raise offline
            yield offer, _read(house, offer)
        except NetworkError as exc:
            offline = exc
            yield offer, exc
        except (NotFound, BadModel) as exc:
            yield offer, exc


def _row(offer: Offer, model: MoeModel | MixchatError, case: Case) -> Quantization:
    plan, problem = (None, model) if isinstance(model, MixchatError) else _placed(replace(case, model=model))
    return Quantization(offer.name, offer.quantization, offer.nbytes, plan, problem)


def _read(house: House, offer: Offer) -> MoeModel:
    """What an offer's header says, of the file that is here if it is."""
    path = _file_of(house, offer)
    return read_offer(house, offer)[2] if path is None else describe(read_model(path))


def _file_of(house: House, offer: Offer) -> Path | None:
    with suppress(NotFound, UsageError):
        return find(house.places, house.registry, parse_reference(offer.name, house.registry.entries)).path
    return None


def _placed(case: Case) -> tuple[Plan | None, DoesNotFit | None]:
    try:
        return place(case.model, case.machine, case.wishes), None
    except DoesNotFit as exc:
        return None, exc
