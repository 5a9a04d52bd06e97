"""Keep the store: `mixchat rm`, `verify` and `import`, and what `list` shows beside whole models.

Knows what a name means in each; refuses to know files and hashes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mixchat.app.house import House
from mixchat.models.finding import find
from mixchat.models.importing import ImportEvent, Wish, import_model
from mixchat.models.keeping import (
    Leftover,
    Partial,
    Removal,
    Verified,
    folders,
    leftovers,
    partials,
    removal,
    remove,
    suspects,
    verify,
)
from mixchat.models.reference import Alias, Reference, parse_reference
from mixchat.models.streaming import Checking


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What lies in the store and is no model: downloads that can go on, and files that belong to nothing."""

    partials: tuple[Partial, ...]
    leftovers: tuple[Leftover, ...]


def unfinished(house: House) -> Unfinished:
    """What lies in the store and is no model."""
    return Unfinished(partials(house.places), leftovers(house.places))


def to_remove(house: House, text: str) -> Removal:
    """What `rm` would remove; nothing is removed yet.

    Raises:
        UsageError: `text` is no model reference, or a file outside the store.
        NotFound: The store has nothing of it.
    """
    return removal(house.places, house.registry, _reference(house, text))


def remove_model(house: House, what: Removal) -> None:
    """Remove it.

    Raises:
        InUse: The model is loaded, or another process is fetching or making it.
        OutputError: It cannot be removed.
    """
    remove(house.places, what)


def verify_model(house: House, text: str) -> Iterator[Checking | Verified]:
    """Compare every byte of a model with what it must be; a Verified for each of its files.

    Raises:
        UsageError: `text` is no model reference.
        NotFound: It is not on this machine.
        BadModel: It is damaged.
    """
    found = find(house.places, house.registry, _reference(house, text))
    yield from verify(suspects(house.places, house.registry, found.path))


def import_file(house: House, wish: Wish) -> Iterator[ImportEvent]:
    """Take a file into the store; ends with Imported. Raises what `import_model` does."""
    yield from import_model(house.places, house.registry, wish)


def _reference(house: House, text: str) -> Reference:
    """A name in the store stays one, also where a file of that name lies in the current folder."""
    if text in {folder.name for folder in folders(house.places)}:
        return Alias(text)
    return parse_reference(text, house.registry.entries)
