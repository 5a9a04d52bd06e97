"""Kept states whose writing or reading fails half way."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mixchat.engine import protocol
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest, StateKept, StateKey, StateRestored
from mixchat.engine.worker import snapshots as module
from mixchat.engine.worker.snapshots import Snapshots, created
from mixchat.errors import EngineDied, OutputError
from mixchat.store import atomic
from tests.engine.states import KEY, kept_story, load, story
from tests.engine.steps import chatml, greedy
from tests.engine.tiny_window import write_tiny_window


@pytest.fixture(scope="module")
def prompt(demo: WorkerClient) -> tuple[int, ...]:
    return story(demo)


@pytest.fixture(scope="module")
def kept(demo: WorkerClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept_story(demo, tmp_path_factory.mktemp("kept") / "state")


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_window(tmp_path_factory.mktemp("window") / "tiny.gguf")


FULL_DISK = str(Path(__file__).parents[1] / "fakes" / "full_disk")


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("reserves", [True, False])
def test_a_state_is_private_from_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool, reserves: bool
) -> None:
    size = 3 << 20 | 57
    if not nameless:
        monkeypatch.setattr(atomic, "_OWN_FILES", "/nowhere")
    if not reserves:
        monkeypatch.delattr(os, "posix_fallocate")
    before = os.umask(0)
    try:
        with created(tmp_path / "state", size) as (data, _address):
            modes = set(_modes(size))
            data[:5] = b"state"
    finally:
        os.umask(before)
    assert modes == {0o100600}
    assert (tmp_path / "state").stat().st_mode == 0o100600
    assert (tmp_path / "state").read_bytes() == b"state".ljust(size, b"\0")


def _modes(size: int) -> Iterator[int]:
    """Modes of this process's open files of a size."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found = link.stat()
            if found.st_size == size:
                yield found.st_mode


def test_a_full_disk_is_an_error_and_leaves_nothing(demo_model: Path, tmp_path: Path) -> None:
    with closing(WorkerClient({**os.environ, "PYTHONPATH": FULL_DISK})) as client:
        load(client, demo_model)
        prompt = chatml(client, "Say yes.")
        greedy(client, prompt, 1)
        with pytest.raises(OutputError, match="No space left on device") as caught:
            client.keep_state(str(tmp_path / "state"), KEY)
        assert "Free some space" in caught.value.hint
        assert list(tmp_path.iterdir()) == []
        assert greedy(client, prompt, 2)[2].usage.cached_tokens == len(prompt) - 1


def test_a_limit_on_the_size_of_files_leaves_what_was_kept(
    client: WorkerClient, demo_model: Path, kept: Path, tmp_path: Path
) -> None:
    import resource

    load(client, demo_model)
    client.restore_state(str(kept), KEY)
    path = tmp_path / "state"
    client.keep_state(str(path), StateKey("before"))
    assert client.pid is not None
    resource.prlimit(client.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    with pytest.raises(OutputError, match="could not be written"):
        client.keep_state(str(path), KEY)
    assert client.restore_state(str(path), StateKey("before")).tokens > 0
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_a_folder_that_is_not_there_is_an_error(demo: WorkerClient, prompt: tuple[int, ...], tmp_path: Path) -> None:
    greedy(demo, prompt[:9], 1)
    with pytest.raises(OutputError):
        demo.keep_state(str(tmp_path / "none" / "state"), KEY)


def test_an_interrupt_leaves_no_file_and_nothing_evaluated(
    client: WorkerClient, demo_model: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(client, demo_model)
    tokens = client.restore_state(str(kept), KEY).tokens
    write = client._write

    def interrupted(frame: bytes) -> None:
        write(frame + protocol.encode(client._last_id, protocol.Cancel()))

    monkeypatch.setattr(client, "_write", interrupted)
    assert client.keep_state(str(tmp_path / "state"), KEY) == StateKept(0, 0)
    assert list(tmp_path.iterdir()) == []
    assert client.restore_state(str(kept), KEY) == StateRestored(0, "It was interrupted.")
    monkeypatch.undo()
    assert client.restore_state(str(kept), KEY).tokens == tokens


def test_a_worker_killed_at_any_moment_leaves_a_whole_state_or_none(windowed: Path, tmp_path: Path) -> None:
    prompt, path = tuple(range(300, 700)), tmp_path / "state"
    for number in range(6):
        with closing(WorkerClient(os.environ)) as client:
            load(client, windowed)
            greedy(client, prompt, 1)
            assert client.pid is not None
            timer = threading.Timer(0.002 * number, os.kill, (client.pid, signal.SIGKILL))
            timer.start()
            with suppress(EngineDied):
                client.keep_state(str(path), KEY)
            timer.join()
            while client.alive():
                time.sleep(0.01)
            load(client, windowed)
            expected = {len(prompt)} if path.exists() else {0}
            assert {client.restore_state(str(path), KEY).tokens} == expected
        path.unlink(missing_ok=True)
        assert list(tmp_path.iterdir()) == []


class Refusing:
    """Stands in for llama.cpp where it gives or takes no state."""

    def __init__(self, size: int = 9, given: int = 9, taken: int = 9, last: int = 2) -> None:
        self.llama_state_seq_get_size = lambda _context, _slot: size
        self.llama_state_seq_get_data = lambda *_arguments: given
        self.llama_state_seq_set_data = lambda *_arguments: taken
        self.llama_memory_seq_pos_max = lambda _memory, _slot: last
        self.llama_get_memory = lambda _context: None
        self.forgotten = 0
        self.adopted: tuple[int, ...] = ()
        self.evaluated = (1, 2, 3)
        self.context, self.n_ctx, self.handle = None, 99, None

    def check_idle(self) -> None:
        pass

    def forget(self) -> None:
        self.forgotten += 1

    def adopt(self, tokens: tuple[int, ...]) -> None:
        self.adopted = tokens

    def flash_attention(self) -> str:
        return "off"

    def reason(self) -> str:
        return "no such thing"


def states(fake: Refusing, monkeypatch: pytest.MonkeyPatch) -> Snapshots:
    monkeypatch.setattr(module, "llama", fake)
    monkeypatch.setattr(module, "_first_context", lambda _handle: 99)
    return Snapshots(fake, fake, LoadRequest("/m"), fake)  # type: ignore[arg-type]


@pytest.mark.parametrize("fake", [Refusing(size=0), Refusing(given=0), Refusing(given=8)])
def test_where_llama_cpp_gives_no_state_nothing_is_kept(
    fake: Refusing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert states(fake, monkeypatch).keep(str(tmp_path / "s"), KEY, "b", lambda: False) == StateKept(0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fake", "reason"),
    [
        (Refusing(taken=0), "llama.cpp refuses the kept state: no such thing."),
        (Refusing(taken=8), "llama.cpp refuses the kept state: no such thing."),
        (Refusing(last=1), "The kept state is not that of its tokens."),
        (Refusing(last=-1), "The kept state is not that of its tokens."),
    ],
)
def test_where_llama_cpp_takes_no_state_nothing_is_evaluated(
    fake: Refusing, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    assert states(Refusing(), monkeypatch).keep(path, KEY, "b", lambda: False).tokens == 3
    restored = states(fake, monkeypatch).restore(path, KEY, "b", lambda: False)
    assert restored == StateRestored(0, reason)
    assert (fake.forgotten, fake.adopted) == (2, ())
    good = Refusing()
    assert states(good, monkeypatch).restore(path, KEY, "b", lambda: False) == StateRestored(3)
    assert good.adopted == (1, 2, 3)
