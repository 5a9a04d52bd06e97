"""Personas: small files with a system text, sampling and a form for the prompt.

Knows where they lie, a person's own and those that come with mixchat, and checks every key; refuses to know models and
what a prompt becomes. A person's own file takes the place of the shipped one of the same name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mixchat.errors import NotFound, UsageError
from mixchat.store.options import BY_NAME, Value, nearest
from mixchat.store.places import Places
from mixchat.store.settings import key_place, parse_toml, read_config

INPUT: Final = "{input}"
"""Stands in a persona's prompt for what the person gives."""

_SETTINGS: Final = (
    *("model", "system"),
    *("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed"),
)
_TEXTS: Final = ("description", "prompt")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_SHIPPED: Final = Path(__file__).with_name("shipped_personas")
_LIST: Final = "mixchat personas list shows them."


@dataclass(frozen=True, slots=True)
class Persona:
    """A persona.

    Attributes:
        name: What `-p` takes.
        path: Its file.
        description: What it is for, in a line; may be empty.
        prompt: The form of the first thing that is said; None: as it is given.
        values: Settings, by name.
    """

    name: str
    path: Path
    description: str
    prompt: str | None
    values: Mapping[str, Value]

    @property
    def shipped(self) -> bool:
        """Whether it came with mixchat."""
        return self.path.parent == _SHIPPED

    def fill(self, text: str) -> str:
        """Put what the person gives into the prompt: for each `{input}`, else behind it after a blank line."""
        if self.prompt is None:
            return text
        return self.prompt.replace(INPUT, text) if INPUT in self.prompt else f"{self.prompt}\n\n{text}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A persona's file; `persona` is None where it has a mistake, and `problem` says which."""

    name: str
    path: Path
    persona: Persona | None
    problem: str = ""


def shipped() -> tuple[str, ...]:
    """Names of the personas that come with mixchat."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def persona_path(places: Places, name: str) -> Path:
    """Where a person's own file of that name lies or would lie.

    Raises:
        UsageError: It is no name.
    """
    if not _NAME.fullmatch(name):
        raise _no_name(places, name)
    return places.config / "personas" / f"{name}.toml"


def read_persona(places: Places, name: str) -> Persona:
    """The persona of that name, the person's own before the shipped one.

    Raises:
        UsageError: It is no name, or the file has a mistake; the message names the file and the line.
        NotFound: There is none.
    """
    path, text = _source(places, name)
    if text is None:
        near = nearest(name, _names(places))
        hint = f"Did you mean {near}?" if near else f"{_LIST} To write it: mixchat personas edit {name}"
        raise NotFound(f"There is no persona {name}.", hint)
    return parse_persona(name, text, path)


def persona_text(places: Places, name: str) -> str | None:
    """The content of its file; None where there is none.

    Raises:
        UsageError: It is no name, or the file cannot be read as text.
    """
    return _source(places, name)[1]


def list_personas(places: Places) -> tuple[Listed, ...]:
    """All personas by name, those with a mistake too."""
    return tuple(_listed(places, name) for name in sorted(_names(places)))


def parse_persona(name: str, text: str, path: Path) -> Persona:
    """Read a persona.

    Args:
        name: What it is called.
        text: TOML.
        path: Where it came from.

    Raises:
        UsageError: It is not TOML, or a key is unknown or has a wrong value.
    """
    content = parse_toml(text, path)
    places = {key: key_place(text, path, key) for key in content}
    texts = {key: _text(content[key], f"{places[key]}: {key}") for key in _TEXTS if key in content}
    values = {key: _value(key, value, places[key]) for key, value in content.items() if key not in _TEXTS}
    return Persona(name, path, texts.get("description", ""), texts.get("prompt"), values)


def _source(places: Places, name: str) -> tuple[Path, str | None]:
    own = persona_path(places, name)
    if (text := read_config(own)) is not None:
        return own, text
    path = _SHIPPED / own.name
    return path, read_config(path)


def _names(places: Places) -> set[str]:
    own = places.config / "personas"
    return {path.stem for path in own.glob("*.toml")} | set(shipped()) if own.is_dir() else set(shipped())


def _listed(places: Places, name: str) -> Listed:
    own = places.config / "personas" / f"{name}.toml"
    path = own if own.exists() else _SHIPPED / own.name
    try:
        return Listed(name, path, read_persona(places, name))
    except (UsageError, NotFound) as error:
        return Listed(name, path, None, error.message)


def _no_name(places: Places, name: str) -> UsageError:
    near = nearest(name, filter(_NAME.fullmatch, _names(places)))
    return UsageError(
        f"{name!r} is no name of a persona: small letters, digits and hyphens, 41 at most.",
        f"Did you mean {near}?" if near else _LIST,
    )


def _value(key: str, value: object, place: str) -> Value:
    if key not in _SETTINGS:
        known = (*_TEXTS, *_SETTINGS)
        near = nearest(key.replace("-", "_"), known)
        hint = f"Did you mean {near}?" if near else "The keys are: " + ", ".join(known) + "."
        raise UsageError(f"{place}: a persona has no key {key!r}.", hint)
    checked = BY_NAME[key].check(value, f"{place}: {key}")
    return checked.rstrip("\r\n") if isinstance(checked, str) else checked


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where}: {value!r} is not a text.", 'Write it in quotes: "...", or """...""" for lines.')
    return value.rstrip("\r\n")
