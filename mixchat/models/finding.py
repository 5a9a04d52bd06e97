"""Which model on this machine a reference means.

Knows the store, the registry and what a record says of its origin; refuses to know how a model gets there, and by which
arithmetic it fits.
"""

import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from mixchat.errors import NotFound, NotPulled, UsageError
from mixchat.models.header_file import unreadable
from mixchat.models.library import Installed, installed
from mixchat.models.origin import Origin, parse_origin
from mixchat.models.reference import Alias, HubFile, HubQuant, HubRepo, LocalPath, Reference
from mixchat.models.registry import Entry, Registry
from mixchat.store.places import Places

_NOW: Final = "Give the path of a .gguf file, or try: mixchat chat demo"

Fits = Callable[[Path], bool]
"""Whether the model in a file fits this machine."""


@dataclass(frozen=True, slots=True)
class Found:
    """The file that a reference means.

    Attributes:
        entry: What the registry knows about it, if it does.
        name: What to call the model.
    """

    path: Path
    entry: Entry | None
    name: str


def find(places: Places, registry: Registry, reference: Reference, fits: Fits | None = None) -> Found:
    """Find the file that a reference means.

    Args:
        places: Where the store is.
        registry: The known models.
        reference: When it leaves the quantization open, the largest that fits is meant, else the smallest.
        fits: Asked only when there are several; None takes the largest.

    Raises:
        NotPulled: It is not on this machine and can be fetched.
        NotFound: There is no such model.
        UsageError: A folder was given.
    """
    match reference:
        case LocalPath(path):
            return _local(registry, path)
        case Alias():
            return _by_alias(places, registry, reference, fits)
        case HubFile(repo, file, revision):
            return _by_origin(places, registry, text_of(reference), lambda o: o.is_of(repo, file, revision), fits)
        case HubQuant(repo, quantization):
            wanted = {quantization, f"I1-{quantization}", f"UD-{quantization}"}
            return _by_origin(
                places, registry, text_of(reference), lambda o: o.repo == repo and o.quantization in wanted, fits
            )
        case HubRepo(repo):
            return _by_origin(places, registry, text_of(reference), lambda o: o.repo == repo, fits)
        case _:
            assert_never(reference)


def text_of(reference: Reference) -> str:
    """The reference as a person writes it."""
    match reference:
        case Alias(name, quantization):
            return f"{name}:{quantization}" if quantization else name
        case HubFile(repo, file, revision):
            return f"hf:{repo}/{file}" + (f"@{revision}" if revision else "")
        case HubQuant(repo, quantization):
            return f"hf:{repo}:{quantization}"
        case HubRepo(repo):
            return f"hf:{repo}"
        case LocalPath(path):
            return str(path)
        case _:
            assert_never(reference)


def to_be_made(places: Places, registry: Registry, reference: Reference) -> Entry | None:
    """The model to make before `find` can find it: one that comes with a Python package and is not in the store."""
    if not isinstance(reference, Alias) or reference.quantization is not None:
        return None
    entry = registry.get(reference.name)
    there = any(model.record.name == reference.name for model in installed(places))
    return entry if entry is not None and entry.package is not None and not there else None


def _local(registry: Registry, path: Path) -> Found:
    try:
        path = path.expanduser()
        mode = path.stat().st_mode
    except (OSError, RuntimeError, ValueError) as exc:
        raise unreadable(path, exc) from exc
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a folder.", "Give the path of a .gguf file in it.")
    return Found(path, registry.by_file(path.name), path.stem)


def _by_alias(places: Places, registry: Registry, alias: Alias, fits: Fits | None) -> Found:
    """The model of that name in the store, else one of the files that the registry lists under it."""
    entry = registry.get(alias.name)
    models = installed(places)
    for own in models:
        if own.record.name == alias.name and alias.quantization is None:
            return Found(own.path, entry or registry.by_file(own.path.name), alias.name)
    names = {
        known.file: known.quantization
        for known in (entry.files if entry else ())
        if alias.quantization in {None, known.quantization.upper()}
    }
    if best := _best((model for model in models if model.path.name in names), fits):
        return Found(best.path, entry, f"{alias.name}:{names[best.path.name]}")
    if entry is not None and alias.quantization is not None:
        repos = {known.repo for known in entry.files}
        for model in models:
            origin = parse_origin(model.record.source)
            if origin is not None and origin.repo in repos and origin.quantization == alias.quantization:
                return Found(model.path, entry, text_of(alias))
    raise missing(registry, entry, alias)


def _by_origin(
    places: Places, registry: Registry, text: str, means: Callable[[Origin], bool], fits: Fits | None
) -> Found:
    """The model that was downloaded from there."""
    origins = ((model, parse_origin(model.record.source)) for model in installed(places))
    model = _best((model for model, origin in origins if origin is not None and means(origin)), fits)
    if model is None:
        raise NotPulled(f"{text} is not on this machine.", f"Run: mixchat pull {text}")
    return Found(model.path, registry.by_file(model.path.name), text)


def _best(models: Iterable[Installed], fits: Fits | None) -> Installed | None:
    """The largest that fits, else the smallest."""
    largest_first = sorted(models, key=lambda model: -model.record.bytes)
    if len(largest_first) > 1 and fits is not None:
        return next((model for model in largest_first if fits(model.path)), largest_first[-1])
    return largest_first[0] if largest_first else None


def missing(registry: Registry, entry: Entry | None, alias: Alias) -> NotFound:
    """The error of a name that no model on this machine has."""
    name = text_of(alias)
    if entry is None:
        near = registry.nearest(alias.name)
        hint = f"Did you mean {near}?" if near else f"Known are {', '.join(registry.entries)}. {_NOW}"
        return NotFound(f"There is no model {name}.", hint)
    if entry.package is not None:
        return NotFound(f"{name} is not made yet.", f"Run: mixchat chat {alias.name}")
    if not entry.files:
        return NotFound(f"{name} ({entry.title}) is not on this machine.", _NOW)
    return NotPulled(f"{name} ({entry.title}) is not on this machine.", f"Run: mixchat pull {name}")
