"""The models that have a short name.

Knows the shape of `models.toml`, checks every key of it, and lays a person's own file over it; refuses to know what is
on this machine and what the hub says.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mixchat.errors import UsageError
from mixchat.models.reference import is_file_name, is_repo_name
from mixchat.models.toml_lines import KeyLines
from mixchat.models.toml_table import Table
from mixchat.store.options import BY_NAME, nearest
from mixchat.store.settings import read_config

PromptFamily = Literal["mistral-v1", "template"]
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
_SHA256 = r"[0-9a-f]{64}"
_ALIAS = r"(?!.*\.\.)[a-z0-9][a-z0-9._-]{0,63}"
_FILE_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,190}\.gguf"


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A model file inside an installed Python package; size in bytes."""

    package: str
    file: str
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A model file on the hub.

    Attributes:
        quantization: Its name behind the alias, `i1-` in front where it was made with an importance matrix.
        repo: `owner/repo`.
        file: In the repository's top folder.
        revision: The commit, None where the hub is asked.
        nbytes: Its size.
        sha256: None where it is not verified; the hub's own is taken then.
    """

    quantization: str
    repo: str
    file: str
    revision: str | None
    nbytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A known model.

    Attributes:
        alias: Its short name.
        licence: None: as the file says.
        context: Tokens it was trained for; None: as the file says.
        prompt: Which prompt format to write.
        sampling: Its own defaults, by setting name.
        package: Where it is made from, for a model that comes with a Python package.
        files: Where it can be had.
    """

    alias: str
    title: str
    licence: str | None
    context: int | None
    prompt: PromptFamily
    sampling: Mapping[str, float] = field(default_factory=dict)
    package: PackageFile | None = None
    files: tuple[KnownFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """All known models by alias."""

    entries: Mapping[str, Entry]

    def get(self, alias: str) -> Entry | None:
        """The model of that name."""
        return self.entries.get(alias)

    def nearest(self, alias: str) -> str | None:
        """The alias that looks most like it."""
        return nearest(alias, self.entries)

    def known_file(self, name: str) -> KnownFile | None:
        """The file of that name."""
        return next((known for e in self.entries.values() for known in e.files if known.file == name), None)

    def by_file(self, name: str) -> Entry | None:
        """The model that has a file of that name."""
        return next((e for e in self.entries.values() if any(known.file == name for known in e.files)), None)


def load_registry(own: Path | None = None) -> Registry:
    """Read the `models.toml` that is part of mixchat, beside this module or at the top of a checkout.

    Args:
        own: The person's own registry; its entries take the place of those of the same name.

    Raises:
        UsageError: The person's file has a mistake.
    """
    inside = Path(__file__).with_name("models.toml")
    path = inside if inside.is_file() else Path(__file__).parents[2] / "models.toml"
    try:
        shipped = parse_registry(path.read_text(encoding="utf-8"), path.name)
    except UsageError as exc:
        raise RuntimeError(exc.message) from exc
    text = None if own is None else read_config(own)
    return shipped if text is None else merge(shipped, parse_registry(text, str(own)))


def merge(base: Registry, own: Registry) -> Registry:
    """Lay one registry over another, entry by entry."""
    return Registry({**base.entries, **own.entries})


def parse_registry(text: str, origin: str) -> Registry:
    """Read a registry.

    Args:
        text: TOML.
        origin: What an error calls the file.

    Raises:
        UsageError: A key is missing, unknown or has a wrong value; the message names file, line and key.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{origin} is not TOML: {exc}.", "Correct that line.") from exc
    lines = KeyLines(text, origin)
    return Registry({alias: _entry(alias, Table(table, alias, lines)) for alias, table in content.items()})


def _entry(alias: str, table: Table) -> Entry:
    if not re.fullmatch(_ALIAS, alias):
        raise table.wrong("is no alias (small letters, digits, '.', '_', '-')")
    entry = Entry(
        alias=alias,
        title=table.text("title"),
        licence=table.optional_text("licence", r".{1,80}"),
        context=table.optional_integer("context"),
        prompt="mistral-v1" if table.text("prompt", "mistral-v1|template") == "mistral-v1" else "template",
        sampling=_sampling(table.table("sampling")),
        package=_package(table.table("package")),
        files=tuple(_known_file(item) for item in table.tables("files")),
    )
    table.end()
    return entry


def _sampling(table: Table | None) -> dict[str, float]:
    if table is None:
        return {}
    return {key: _sampling_value(table, key, value) for key, value in table.rest().items()}


def _sampling_value(table: Table, key: str, value: object) -> float:
    if key not in _SAMPLING:
        raise table.wrong("is not a known key", key)
    checked = BY_NAME[key].check(value, table.place(key))
    assert isinstance(checked, int | float)  # noqa: S101 - these settings are numbers
    return checked


def _package(table: Table | None) -> PackageFile | None:
    if table is None:
        return None
    package = PackageFile(
        package=table.text("package", r"[A-Za-z_]\w*"),
        file=table.text("file", _FILE_NAME),
        nbytes=table.integer("bytes"),
        sha256=table.text("sha256", _SHA256),
    )
    table.end()
    return package


def _known_file(table: Table) -> KnownFile:
    known = KnownFile(
        quantization=table.text("quantization", r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}"),
        repo=table.text("repo"),
        file=table.text("file", _FILE_NAME),
        revision=table.optional_text("revision", r"[0-9a-f]{40}"),
        nbytes=table.integer("bytes"),
        sha256=table.optional_text("sha256", _SHA256),
    )
    if not is_repo_name(known.repo):
        raise table.wrong(f"is {known.repo!r}, not a name that the hub allows", "repo")
    if not is_file_name(known.file):
        raise table.wrong(f"is {known.file!r}, not a name that mixchat stores", "file")
    table.end()
    return known
