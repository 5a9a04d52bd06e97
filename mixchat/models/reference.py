"""What a person may write as MODEL.

Knows the grammar of model references and which names are hostile; refuses to know which models exist. The hub's
rules for names: https://huggingface.co/docs/huggingface_hub (validate_repo_id).
"""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mixchat.errors import UsageError

_NAME_LIMIT = 96
_FILE_LIMIT = 200
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_QUANTIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_HUB_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_FILE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ ()-]*")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}")


@dataclass(frozen=True, slots=True)
class Alias:
    """A name in the registry or the store, `name[:QUANT]`; the quantization is in capitals."""

    name: str
    quantization: str | None = None


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository of the hub, `hf:owner/repo/file.gguf[@revision]`."""

    repo: str
    file: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class HubQuant:
    """A quantization in a repository of the hub, `hf:owner/repo:QUANT`; the quantization is in capitals."""

    repo: str
    quantization: str


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A repository of the hub, `hf:owner/repo`, of which the file that fits best is meant."""

    repo: str


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A file on this machine, as it was written."""

    path: Path


Reference = Alias | HubFile | HubQuant | HubRepo | LocalPath


def parse_reference(text: str, aliases: Collection[str] = ()) -> Reference:
    """Read a model reference.

    Args:
        text: What the person wrote.
        aliases: Names that stay names even where a file of that name lies in the current folder.

    Raises:
        UsageError: It is none, or a name in it could reach outside the store.
    """
    if not text.strip() or not text.isprintable():
        raise _refused(text, "it is empty or has characters that cannot be seen")
    if text.startswith("hf:"):
        return _hub(text)
    if "://" in text:
        raise _refused(text, "it is a web address")
    if text not in aliases and _is_path(text):
        return LocalPath(Path(text))
    return _alias(text)


def _is_path(text: str) -> bool:
    separators = {os.sep, os.altsep or os.sep}
    return (
        text.lower().endswith(".gguf")
        or text.startswith((".", "~"))
        or any(separator in text for separator in separators)
        or os.path.isfile(text)  # noqa: PTH113 - a name too long is no file; Path raises
    )


def _alias(text: str) -> Alias:
    name, colon, quantization = text.partition(":")
    if not _ALIAS.fullmatch(name) or ".." in name:
        raise _refused(text, "a name has letters, digits, '.', '_' and '-' only")
    return Alias(name, _quantization(text, quantization) if colon else None)


def _hub(text: str) -> HubFile | HubQuant | HubRepo:
    owner, _, rest = text.removeprefix("hf:").partition("/")
    repo, slash, file = rest.partition("/")
    if slash:
        file, at, revision = file.partition("@")
        _check_file(text, file)
        return HubFile(_repo(text, owner, repo), file, _revision(text, revision) if at else None)
    repo, colon, quantization = repo.partition(":")
    name = _repo(text, owner, repo)
    return HubQuant(name, _quantization(text, quantization)) if colon else HubRepo(name)


def is_repo_name(name: str) -> bool:
    """Whether it is an `owner/repo` that the hub allows."""
    owner, _, repo = name.partition("/")
    allowed = _HUB_NAME.fullmatch(owner) and _HUB_NAME.fullmatch(repo)
    bad = not allowed or len(name) > _NAME_LIMIT or "--" in name or ".." in name or name.endswith(".git")
    return not bad


def is_file_name(name: str) -> bool:
    """Whether a file of a repository has a name that mixchat stores; folders in it are fine."""
    parts = name.split("/")
    return len(name) <= _FILE_LIMIT and all(_FILE_PART.fullmatch(part) for part in parts) and ".." not in name


def _repo(text: str, owner: str, repo: str) -> str:
    name = f"{owner}/{repo}"
    if not is_repo_name(name):
        raise _refused(text, "owner/repo is no name that the hub allows")
    return name


def _check_file(text: str, file: str) -> None:
    if not is_file_name(file):
        raise _refused(text, "its file name is not one that mixchat stores")
    if not file.lower().endswith(".gguf"):
        raise _refused(text, "its file name does not end in .gguf")


def _revision(text: str, revision: str) -> str:
    if not _REVISION.fullmatch(revision) or ".." in revision or revision.endswith("/"):
        raise _refused(text, "its revision is no branch, tag or commit")
    return revision


def _quantization(text: str, quantization: str) -> str:
    if not _QUANTIZATION.fullmatch(quantization):
        raise _refused(text, "its quantization is no name such as Q4_K_M")
    return quantization.upper()


def _refused(text: str, why: str) -> UsageError:
    shown = ascii(text[:80]) + ("..." if len(text) > 80 else "")  # noqa: PLR2004 - a line's worth
    return UsageError(
        f"{shown} is no model: {why}.",
        "Give a name such as mixtral:Q4_K_M, hf:owner/repo:QUANT, hf:owner/repo/file.gguf or a path to a .gguf file.",
    )
