"""A hub without a network: repositories of headers, and what was asked of them."""

from collections import Counter

from mixchat.errors import NotFound
from mixchat.gguf.header import parse_header
from mixchat.models.hub import Hub
from mixchat.models.remote import RemoteFile, RepoInfo

COMMIT = "c" * 40


class ShelfHub(Hub):
    """A Hub whose files are headers; what follows is zeros.

    Attributes:
        asked: Repositories whose content was asked for, in order.
        read: Bytes that were read of each path.
    """

    def __init__(self) -> None:
        super().__init__(offline=True)
        self.asked: list[str] = []
        self.read: Counter[str] = Counter()
        self._files: dict[str, list[RemoteFile]] = {}
        self._heads: dict[str, bytes] = {}

    def add(self, repo: str, path: str, head: bytes, size: int | None = None, sha256: str | None = None) -> RemoteFile:
        """Put a file there; without a size it is as long as its header says."""
        nbytes = parse_header(head).file_bytes if size is None else size
        file = RemoteFile(repo, path, COMMIT, nbytes, sha256 or "a" * 64)
        self._files.setdefault(repo, []).append(file)
        self._heads[path] = head
        return file

    def info(self, repo: str, revision: str | None = None) -> RepoInfo:
        self.asked.append(repo)
        if repo not in self._files or (revision not in {None, "v1"} and len(revision or "") < len(COMMIT)):
            raise NotFound(f"The hub has no {repo}.", "Check it.")
        return RepoInfo(repo, COMMIT, tuple(self._files[repo]))

    def head(self, file: RemoteFile, nbytes: int, offset: int = 0) -> bytes:
        data = self._heads[file.path].ljust(min(offset + nbytes, file.size), b"\0")[: file.size]
        self.read[file.path] += len(data[offset : offset + nbytes])
        return data[offset : offset + nbytes]
