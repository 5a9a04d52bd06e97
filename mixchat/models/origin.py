"""Where a downloaded model came from, as its record's `source` says it, and what its folder is called.

Knows how repository, file and commit become words and back, and how a quantization stands in a file's name; refuses to
know what is on this machine.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from mixchat.gguf.shards import stem_of

_SOURCE = re.compile(r"hf:([^/ ]+/[^/ ]+)/(.+)@([0-9A-Za-z]+)(?: \((.+)\))?")
_FOLDER_LIMIT = 100
_QUANTIZATION = re.compile(
    r"(?:^|[-._])((?:UD-|i1-)?(?:I?Q[0-9][A-Z0-9_]*|TQ[0-9]_[0-9]|BF16|F16|F32|FP16|MXFP4(?:_MOE)?|NVFP4))$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A file of a repository on the hub.

    Attributes:
        repo: `owner/repo`.
        path: In the repository; of shards the first.
        commit: Which version.
        revision: The branch or tag that was asked for; None when none was.
    """

    repo: str
    path: str
    commit: str
    revision: str | None = None

    def __str__(self) -> str:
        """The words for a record."""
        named = f" ({self.revision})" if self.revision not in {None, self.commit} else ""
        return f"hf:{self.repo}/{self.path}@{self.commit}{named}"

    def is_of(self, repo: str, path: str, revision: str | None) -> bool:
        """Whether it is that file, of that revision where one is named."""
        return (self.repo, self.path) == (repo, path) and revision in {None, self.commit, self.revision}

    @property
    def quantization(self) -> str:
        """The quantization in its name, in capitals; empty when there is none."""
        return quantization_in(self.path).upper()


def parse_origin(source: str) -> Origin | None:
    """Read the words of a record; None when the model came from elsewhere."""
    match = _SOURCE.fullmatch(source)
    return Origin(match[1], match[2], match[3], match[4]) if match else None


def quantization_in(path: str) -> str:
    """The quantization that a file's name ends with, or its folder's; empty when there is none."""
    where = PurePosixPath(path)
    for name in (stem_of(where.name), where.parent.name):
        if match := _QUANTIZATION.search(name):
            return match[1]
    return ""


def folder_for(origin: Origin) -> str:
    """What to call the folder of a file that no alias means: owner and file, made safe and short."""
    owner = origin.repo.partition("/")[0]
    name = f"{owner}--{stem_of(PurePosixPath(origin.path).name)}"
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-") or "model"
    return safe if len(safe) <= _FOLDER_LIMIT else distinct(safe[:_FOLDER_LIMIT], origin)


def distinct(name: str, origin: Origin) -> str:
    """Another name for a folder, for this file only."""
    file = f"{origin.repo}/{origin.path}@{origin.commit}"
    return f"{name}-{hashlib.sha256(file.encode()).hexdigest()[:8]}"
