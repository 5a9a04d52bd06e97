"""What could be pulled for a model reference.

Knows the registry's files and how a repository's files make models: shards together, projectors and importance matrices
apart; refuses to know the machine, and which offer suits it. Names that the hub answers are untrusted: a file whose
name mixchat would not store is not offered.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, assert_never

from mixchat.errors import BadModel, MixchatError, NotFound, UsageError
from mixchat.gguf.shards import shard_names
from mixchat.models.finding import missing
from mixchat.models.hub import Hub
from mixchat.models.origin import quantization_in
from mixchat.models.reference import Alias, HubFile, HubQuant, HubRepo, LocalPath, Reference, is_file_name
from mixchat.models.registry import Entry, KnownFile, Registry
from mixchat.models.remote import RemoteFile, RepoInfo

_NO_MODELS: Final = ("mmproj", "imatrix")
_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that could be pulled.

    Attributes:
        name: The reference that means just this.
        quantization: As its name says; empty when it says none.
        nbytes: Of all its files.
        files: Its files, the first shard first; none until `resolved`.
        known: The registry's file, when it comes from there.
    """

    name: str
    quantization: str
    nbytes: int
    files: tuple[RemoteFile, ...]
    known: KnownFile | None = None


def offers(registry: Registry, hub: Hub, reference: Reference) -> tuple[Offer, ...]:
    """What a reference may mean, the largest first, at least one; the hub is asked only where the registry ends.

    Raises:
        NotFound: There is no such model, repository, quantization or file.
        NetworkError: The hub cannot be reached or says no.
    """
    match reference:
        case Alias(name, quantization):
            return _of_alias(registry, hub, name, quantization)
        case HubRepo(repo):
            return _of_repo(hub.info(repo))
        case HubQuant(repo, quantization):
            return (_chosen(_of_repo(hub.info(repo)), quantization, repo),)
        case HubFile(repo, file, revision):
            return (_of_file(hub.info(repo, revision), file, revision),)
        case LocalPath(path):
            raise UsageError(
                f"{path} is a path on this machine.", "Pull a name such as mixtral or hf:owner/repo:QUANT."
            )
        case _:
            assert_never(reference)


def siblings(registry: Registry, hub: Hub, reference: Reference) -> tuple[Offer, ...]:
    """All quantizations of the model that a reference names, the largest first."""
    match reference:
        case Alias(name):
            return offers(registry, hub, Alias(name))
        case HubQuant(repo):
            return offers(registry, hub, HubRepo(repo))
        case _:
            return ()


def resolved(hub: Hub, offer: Offer) -> Offer:
    """The offer with its files; asks the hub where the registry does not know commit and hash.

    Raises:
        NetworkError: The hub cannot be reached or says no.
        NotFound: The hub no longer has the file.
        BadModel: The hub has another file under that name than the registry knows.
    """
    known = offer.known
    if offer.files or known is None:
        return offer
    remote = _file(hub.info(known.repo, known.revision), known.file)
    if known.sha256 is not None and remote.sha256 != known.sha256:
        raise BadModel(
            f"The hub's {known.repo}/{known.file} is not the file that mixchat knows: its sha256 differs.",
            f"To take it as it is: mixchat pull hf:{known.repo}/{known.file}",
        )
    return replace(offer, nbytes=remote.size, files=(remote,))


def _of_alias(registry: Registry, hub: Hub, name: str, quantization: str | None) -> tuple[Offer, ...]:
    entry = registry.get(name)
    if entry is None or not entry.files:
        raise missing(registry, entry, Alias(name, quantization))
    listed = [_of_known(name, known) for known in entry.files]
    if quantization is None:
        return _largest_first(listed)
    for offer in listed:
        if offer.quantization.upper() == quantization:
            return (offer,)
    return (_unlisted(hub, entry, quantization),)


def _of_known(alias: str, known: KnownFile) -> Offer:
    files: tuple[RemoteFile, ...] = ()
    if known.revision is not None and known.sha256 is not None:
        files = (RemoteFile(known.repo, known.file, known.revision, known.nbytes, known.sha256),)
    return Offer(f"{alias}:{known.quantization}", known.quantization, known.nbytes, files, known)


def _unlisted(hub: Hub, entry: Entry, quantization: str) -> Offer:
    """A quantization that the registry lacks and one of its repositories may have."""
    error: MixchatError | None = None
    for repo in dict.fromkeys(known.repo for known in entry.files):
        try:
            offer = _chosen(_of_repo(hub.info(repo)), quantization, repo)
        except NotFound as exc:
            error = error or exc
        else:
            return replace(offer, name=f"{entry.alias}:{offer.quantization}")
    known_names = ", ".join(known.quantization for known in entry.files)
    raise NotFound(f"There is no {entry.alias}:{quantization}.", f"Known are {known_names}.") from error


def _of_repo(info: RepoInfo) -> tuple[Offer, ...]:
    groups: dict[str, Offer] = {}
    by_path = {file.path: file for file in info.files if _is_model(file)}
    for path in by_path:
        paths = _shard_paths(path)
        if path == paths[0] and all(part in by_path for part in paths):
            files = tuple(by_path[part] for part in paths)
            size = sum(file.size for file in files)
            groups[path] = Offer(f"hf:{info.repo}/{path}", quantization_in(path), size, files)
    if not groups:
        raise NotFound(f"hf:{info.repo} has no GGUF model.", "Look for a repository whose name ends in -GGUF.")
    return _largest_first(_short_names(info.repo, tuple(groups.values())))


def _short_names(repo: str, found: Sequence[Offer]) -> Iterable[Offer]:
    """Name by quantization what no other file shares it with."""
    names = [offer.quantization.upper() for offer in found]
    for offer, name in zip(found, names, strict=True):
        yield replace(offer, name=f"hf:{repo}:{offer.quantization}") if name and names.count(name) == 1 else offer


def _chosen(found: Sequence[Offer], quantization: str, repo: str) -> Offer:
    """The offer of that quantization, else the one that has it behind a prefix such as `i1-`."""
    exact = [offer for offer in found if offer.quantization.upper() == quantization]
    fitting = exact or [offer for offer in found if offer.quantization.upper().endswith(f"-{quantization}")]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(offer.name for offer in fitting[:_LISTED])
        raise NotFound(f"hf:{repo} has {quantization} more than once.", f"Name one of {names}.")
    names = ", ".join(dict.fromkeys(offer.quantization for offer in found[:_LISTED] if offer.quantization))
    raise NotFound(f"hf:{repo} has no {quantization}.", f"It has {names}." if names else "Name one of its files.")


def _of_file(info: RepoInfo, path: str, revision: str | None) -> Offer:
    files = tuple(_file(info, part) for part in _shard_paths(path))
    at = f"@{revision}" if revision else ""
    return Offer(f"hf:{info.repo}/{path}{at}", quantization_in(path), sum(file.size for file in files), files)


def _file(info: RepoInfo, path: str) -> RemoteFile:
    for file in info.files:
        if file.path == path and is_file_name(path):
            return file
    others = [file.path for file in info.files if _is_model(file)][:_LISTED]
    hint = f"It has {', '.join(others)}." if others else "It has no GGUF files."
    raise NotFound(f"hf:{info.repo} has no {path}.", hint)


def _shard_paths(path: str) -> tuple[str, ...]:
    where = PurePosixPath(path)
    return tuple(str(where.with_name(name)) for name in shard_names(where.name))


def _is_model(file: RemoteFile) -> bool:
    name = file.path.lower()
    return name.endswith(".gguf") and is_file_name(file.path) and not any(word in name for word in _NO_MODELS)


def _largest_first(found: Iterable[Offer]) -> tuple[Offer, ...]:
    return tuple(sorted(found, key=lambda offer: (-offer.nbytes, offer.name)))
