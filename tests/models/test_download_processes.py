"""Downloads in processes that are killed, and in several at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from mixchat.models.hub import Hub
from mixchat.models.library import installed
from mixchat.store.places import Places
from tests.command import wait_for
from tests.fakes.downloads import QUICK, assert_whole, fetched, fetching, gguf
from tests.fakes.hub import FakeHub
from tests.fakes.hub_faults import Fault


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub
    assert hub.errors == []


def part(places: Places) -> Path:
    return places.models / "m" / "m.gguf.part"


@pytest.mark.parametrize("count", [2, 8])
def test_many_processes_make_one_download(fake: FakeHub, places: Places, tmp_path: Path, count: int) -> None:
    content = gguf(4 << 20)
    fake.add("o/n", "m.gguf", content)
    fake.pace = 0.1
    with ExitStack() as stack:
        processes = [stack.enter_context(fetching(fake.endpoint, tmp_path / "home")) for _ in range(count)]
        said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * count, said
    assert sum("Another process" in out for out, _ in said) == count - 1
    assert fake.served["m.gguf"] <= 1.01 * len(content)
    assert_whole(places, content)


def test_when_one_dies_another_takes_over(fake: FakeHub, places: Places, tmp_path: Path) -> None:
    content = gguf(4 << 20)
    fake.add("o/n", "m.gguf", content)
    fake.faults.add(Fault("stall", 1 << 20))
    with fetching(fake.endpoint, tmp_path / "home") as first:
        wait_for(lambda: part(places).exists() and part(places).stat().st_size >= 200_000)
        with fetching(fake.endpoint, tmp_path / "home") as second:
            assert second.stdout is not None
            while "Another process" not in (line := second.stdout.readline()):
                assert line
            first.kill()
            _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert fake.served["m.gguf"] <= len(content) + (2 << 20)
    assert_whole(places, content)


def test_ctrl_c_keeps_the_part(fake: FakeHub, places: Places, tmp_path: Path) -> None:
    content = gguf(4 << 20)
    fake.add("o/n", "m.gguf", content)
    fake.pace = 0.2
    with fetching(fake.endpoint, tmp_path / "home") as process:
        wait_for(lambda: size_of(part(places)) > 300_000)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    kept = size_of(part(places))
    assert kept > 300_000
    assert installed(places) == ()
    fake.pace = 0
    fake.served.clear()
    hub = Hub(fake.endpoint, patience=QUICK)
    fetched(places, hub, *hub.info("o/n").files)
    assert fake.served["m.gguf"] == len(content) - kept
    assert_whole(places, content)


def kill_at_random(fake: FakeHub, places: Places, home: Path, size: int, kills: int) -> list[int]:
    """Kill a fetching process again and again, then let it finish; what had to be sent again after each kill."""
    random, resent = Random(kills), list[int]()
    for left in range(kills, 0, -1):
        served, kept = fake.served["m.gguf"], size_of(part(places))
        step = (size - kept) // (left + 1)
        with fetching(fake.endpoint, home) as process:
            wait_for_bytes(fake, served + max(random.randrange(-step // 4, step), 0), random.random() / 2)
            assert process.poll() is None, process.communicate()
        resent.append(fake.served["m.gguf"] - served - (size_of(part(places)) - kept))
    with fetching(fake.endpoint, home) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return resent


def wait_for_bytes(fake: FakeHub, goal: int, seconds: float) -> None:
    """Wait until so many bytes were sent; where that is so already, some time: a process may also die as it starts."""
    if fake.sent["m.gguf"] >= goal:
        time.sleep(seconds)
    wait_for(lambda: fake.sent["m.gguf"] >= goal)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize(
    ("kills", "mebibytes"), [(6, 32), pytest.param(50, 256, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_kill_at_any_moment_costs_little(
    fake: FakeHub, places: Places, tmp_path: Path, kills: int, mebibytes: int
) -> None:
    (tmp_path / "served").write_bytes(content := gguf(mebibytes << 20))
    file = fake.add("o/n", "m.gguf", tmp_path / "served")
    fake.pace = 0.001
    resent = kill_at_random(fake, places, tmp_path / "home", file.size, kills)
    print(f"{len(resent)} kills of {mebibytes} MiB: at most {max(resent)} bytes sent again, {sum(resent)} in all")  # noqa: T201 - figures, with -s
    assert len(resent) == kills
    assert max(resent) <= 16 << 20
    assert fake.served["m.gguf"] == file.size + sum(resent)
    assert_whole(places, content)
    assert not list(places.models.glob("**/*.tmp"))
    assert not list(places.models.glob("**/*.part*"))
