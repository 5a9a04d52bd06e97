"""Get a model onto this machine: what `mixchat pull` does.

Knows the order: what is there already, the preflight, the other library's cache, the download; refuses to know how
bytes travel and how progress is shown.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mixchat.app.events import Making
from mixchat.app.house import House
from mixchat.app.machine import machine_of
from mixchat.app.preflight import Preflight, preflight
from mixchat.app.source import locate
from mixchat.app.wishes import wishes_of
from mixchat.errors import NotPulled
from mixchat.models.download import fetch
from mixchat.models.events import FetchEvent
from mixchat.models.finding import find, to_be_made
from mixchat.models.hub_cache import cached, take
from mixchat.models.reference import HubFile, LocalPath, Reference, parse_reference
from mixchat.models.stored import folder_of, origin_of, target_of
from mixchat.store.settings import Settings, built_in


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model is on this machine.

    Attributes:
        name: The reference that means it.
        path: Its file; of shards the first.
        before: Whether it was there before.
    """

    name: str
    path: Path
    before: bool


PullEvent = Making | Preflight | FetchEvent | Pulled


def pull(house: House, text: str, settings: Settings | None = None, *, force: bool = False) -> Iterator[PullEvent]:
    """Fetch a model; ends with Pulled. A Preflight comes before the first byte of the download.

    1. What is on this machine already is not asked for again: no request is made.
    2. The preflight says what would come; what stands against it is raised, unless `force`.
    3. Files in the cache of the hub's own library are linked or copied.
    4. What is missing is fetched; every file is checked by its hash, those of step 3 too.

    Raises:
        UsageError: `text` is no reference to a model that can be fetched.
        DoesNotFit: The memory or the disk is too small.
        BadModel: The file is of a kind that llama.cpp no longer loads, or it is damaged.
        NotFound: There is no such model.
        NetworkError: The hub cannot be reached or says no.
        OutputError: The disk cannot be written.
    """
    reference = parse_reference(text, house.registry.entries)
    if to_be_made(house.places, house.registry, reference) is not None:
        yield from _made(house, text)
        return
    if (there := _there(house, reference)) is not None:
        yield there
        return
    chosen = settings or built_in()
    check = preflight(house, text, wishes_of(chosen, force=force), machine_of(house, chosen))
    yield check
    if check.problem is not None:
        raise check.problem
    yield from _fetch(house, check, reference.revision if isinstance(reference, HubFile) else None)


def _there(house: House, reference: Reference) -> Pulled | None:
    """The model when it is on this machine; a path is none that could be fetched, which `preflight` says."""
    if not isinstance(reference, LocalPath):
        with suppress(NotPulled):
            found = find(house.places, house.registry, reference)
            return Pulled(found.name, found.path, before=True)
    return None


def _made(house: House, text: str) -> Iterator[PullEvent]:
    """The demo is not fetched but made."""
    for event in locate(house, text):
        yield event if isinstance(event, Making) else Pulled(event.name, event.path, before=False)


def _fetch(house: House, check: Preflight, revision: str | None) -> Iterator[PullEvent]:
    origin = origin_of(check.files, revision)
    folder = folder_of(house.places, check.name, origin)
    yield from _reused(house, check, folder)
    yield from fetch(house.places, house.hub, folder, check.files, str(origin))
    yield Pulled(check.name, target_of(house.places, folder, check.files[0]), before=False)


def _reused(house: House, check: Preflight, folder: str) -> Iterator[FetchEvent]:
    """Put what the cache has where the download would put it; there its hash is checked."""
    if house.cache is None:
        return
    for file in check.files:
        target = target_of(house.places, folder, file)
        source = cached(house.cache, file)
        if source is not None and not target.exists() and not target.parent.is_symlink():
            yield from take(source, target)
