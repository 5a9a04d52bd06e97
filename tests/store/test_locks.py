import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mixchat.errors import InUse, OutputError
from mixchat.store.locks import hold

HOLDER = """
import sys, time, pathlib
from mixchat.store.locks import hold
with hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextmanager
def holder(path: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_free_lock_is_taken_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    for _ in range(2):
        with hold(path, timeout=0, on_wait=lambda: pytest.fail("waited")):
            assert path.exists()


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_lock_of_another_process_is_in_use(tmp_path: Path, timeout: float) -> None:
    waits: list[None] = []
    with holder(tmp_path / "lock", 60):
        start = time.monotonic()
        with pytest.raises(InUse) as caught, hold(tmp_path / "lock", timeout, lambda: waits.append(None)):
            pass
        assert time.monotonic() - start < 5
    assert caught.value.exit_code == 13
    assert str(tmp_path / "lock") in caught.value.message
    assert len(waits) == (1 if timeout else 0)


def test_waiting_ends_when_the_other_ends(tmp_path: Path) -> None:
    waits: list[None] = []
    with holder(tmp_path / "lock", 0.3), hold(tmp_path / "lock", on_wait=lambda: waits.append(None)):
        pass
    assert len(waits) == 1


def test_lock_dies_with_its_process(tmp_path: Path) -> None:
    with holder(tmp_path / "lock", 60) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hold(tmp_path / "lock", timeout=0):
            pass


def test_error_in_the_block_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold(tmp_path / "lock"):
        raise RuntimeError
    with hold(tmp_path / "lock", timeout=0):
        pass


def test_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(OutputError, match="cannot be taken"), hold(tmp_path / "lock"):
        pass
