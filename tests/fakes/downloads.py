"""What tests of downloads share: models to serve, little patience, and a process that fetches.

python -m tests.fakes.downloads ENDPOINT HOME REPO fetches the repository's files as the model `m`.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from mixchat.gguf.types import TYPES
from mixchat.gguf.writer import header_bytes, text
from mixchat.models.download import fetch
from mixchat.models.events import FetchEvent, Waiting
from mixchat.models.hub import Hub, RemoteFile
from mixchat.models.library import installed
from mixchat.models.patience import Patience
from mixchat.store.places import Places, find_places
from tests.fakes.hub import FakeHub

QUICK = Patience(first_pause=0.01, longest_pause=0.05, longest_wait=0.1, connect=20.0, stall=20.0)
_BLOCK = 1 << 20
ROOT = Path(__file__).parents[2]


class Scene(NamedTuple):
    """A hub, its client, a file of it, and where the store puts it."""

    fake: FakeHub
    hub: Hub
    file: RemoteFile
    places: Places
    folder: Path


def gguf(nbytes: int = 300_000, seed: int = 0) -> bytes:
    """A whole GGUF file with about so many bytes of one tensor."""
    header = header_bytes({"general.architecture": text("llama")}, [("a", (nbytes // 4,), TYPES["F32"])])
    random, rest = Random(seed), nbytes // 4 * 4
    return header + b"".join(random.randbytes(min(_BLOCK, rest - done)) for done in range(0, rest, _BLOCK))


def fetched(places: Places, hub: Hub, *files: RemoteFile) -> list[FetchEvent]:
    """Fetch the files as the model `m`."""
    return list(fetch(places, hub, "m", files, "somewhere"))


def whys(events: list[FetchEvent]) -> list[str]:
    """What was waited for."""
    return [event.why for event in events if isinstance(event, Waiting)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leave_part(folder: Path, data: bytes, file: RemoteFile, **other: object) -> None:
    """What a killed download leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.gguf.part").write_bytes(data)
    state = {"commit": file.commit, "sha256": file.sha256, "size": file.size, "tag": file.sha256 or "", **other}
    (folder / "m.gguf.part.json").write_text(json.dumps(state))


def assert_whole(places: Places, content: bytes) -> None:
    """The model `m` is installed, with the right bytes and nothing beside it."""
    [model] = installed(places)
    assert model.path.read_bytes() == content
    assert model.record.sha256 == hashlib.sha256(content).hexdigest()
    assert model.record.bytes == len(content)
    assert names(model.path.parent) == ["m.gguf", "model.json"]


@contextmanager
def fetching(endpoint: str, home: Path, repo: str = "o/n") -> Iterator[subprocess.Popen[str]]:
    """A process that fetches; it tells on stdout what it waits for."""
    command = [sys.executable, "-m", "tests.fakes.downloads", endpoint, str(home), repo]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def main(endpoint: str, home: str, repo: str) -> None:
    hub = Hub(endpoint, patience=QUICK)
    print("started", flush=True)  # noqa: T201 - a program of its own
    for event in fetch(find_places({"MIXCHAT_HOME": home}), hub, "m", hub.info(repo).files, "somewhere"):
        if isinstance(event, Waiting):
            print(event.why, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
