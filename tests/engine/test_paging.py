"""What lies in RAM of a mapped model, and pages that an answer waits for."""

import ctypes
import mmap
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import GenerateRequest, Loaded, LoadRequest
from mixchat.engine.worker import residence as module
from mixchat.engine.worker.residence import residence
from tests.engine.steps import GREEDY, chatml, finished

MIB = 1 << 20
PROCESS_MADVISE = 440
MADV_PAGEOUT = 21

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def page_out(pid: int, path: Path) -> bool:
    """Take a mapped file out of a process's memory and out of the page cache; False where that is not allowed.

    process_madvise(2) with MADV_PAGEOUT: what the kernel does by itself when RAM ends.
    """

    class Range(ctypes.Structure):
        _fields_ = (("start", ctypes.c_size_t), ("length", ctypes.c_size_t))

    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    done = True
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(str(path)):
            start, end = (int(address, 16) for address in line.split()[0].split("-"))
            part = Range(start, end - start)
            done = done and libc.syscall(PROCESS_MADVISE, pidfd, ctypes.byref(part), 1, MADV_PAGEOUT, 0) == end - start
    os.close(pidfd)
    return done


def load(client: WorkerClient, path: Path, **changes: object) -> Loaded:
    request = LoadRequest(str(path), context=512, threads=2, **changes)  # type: ignore[arg-type]
    *_progress, loaded = client.load(request)
    assert isinstance(loaded, Loaded)
    return loaded


def test_a_model_that_was_read_ahead_is_resident(client: WorkerClient, demo_model: Path) -> None:
    size = demo_model.stat().st_size
    loaded = load(client, demo_model)
    # llama.cpp unmaps the header once the weights are there.
    assert 0.9 * size < loaded.mapped <= size + 4096
    assert loaded.resident > 0.95 * loaded.mapped
    assert load(client, demo_model, load_mode="copy").mapped == 0


def test_an_answer_counts_the_pages_that_it_waits_for(client: WorkerClient, demo_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    shutil.copyfile(demo_model, copy)
    os.sync()
    load(client, copy)

    def faults(question: str) -> int:
        return finished(client.generate(GenerateRequest(chatml(client, question), GREEDY, 4))).timings.major_faults

    # The first answer may also wait for pages of llama.cpp's own code.
    faults("Name three colours.")
    in_memory = faults("Name three flowers.")
    assert client.pid is not None
    if not page_out(client.pid, copy):
        pytest.skip("no right to page out another process")
    assert faults("Name three animals.") > in_memory + 10


def test_pages_in_ram_are_told_from_those_that_are_not(tmp_path: Path) -> None:
    path = tmp_path / "name-00001-of-00002.gguf"
    (tmp_path / "other.txt").write_bytes(b"x" * 4 * MIB)
    for name in (path.name, "name-00002-of-00002.gguf"):
        (tmp_path / name).write_bytes(b"x" * 4 * MIB)
    assert residence(path) == (0, 0)
    with ExitStack() as stack:
        for each in sorted(tmp_path.iterdir()):
            file = stack.enter_context(each.open("rb"))
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        mapped, resident = residence(path)
        assert mapped == 8 * MIB
        if resident > 2 * MIB:
            pytest.skip("this file system keeps files in memory")
        path.read_bytes()
        assert 4 * MIB <= residence(path)[1] <= resident + 4 * MIB


def test_where_nothing_is_told_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "MAPS", tmp_path / "none")
    assert residence(tmp_path / "model.gguf") == (0, 0)
