"""A file and a repository on a hub, as values.

Knows which names of files are hostile; refuses to know how a hub is asked.
"""

from dataclasses import dataclass

MAX_PATH = 200


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the hub.

    Attributes:
        repo: `owner/name`.
        path: In the repository, with `/`.
        commit: The revision that every request is pinned to.
        size: Bytes.
        sha256: Of its content; None when nobody said.
    """

    repo: str
    path: str
    commit: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class RepoInfo:
    """A repository at one commit; files with a hostile name or of unknown size are left out."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]


def is_safe_path(path: str) -> bool:
    r"""Whether a path in a repository can be asked for and stays in it: relative, printable, without `..` or `\\`."""
    parts = path.split("/")
    plain = path.isprintable() and not set(path) & set('\\:*?"<>|')
    return plain and 0 < len(path) <= MAX_PATH and not any(part in {"", ".", ".."} for part in parts)
