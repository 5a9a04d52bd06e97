from pathlib import Path

import pytest

from mixchat.engine import platform


def test_this_machine_has_cores_memory_and_a_name() -> None:
    assert platform.physical_cores() >= 1
    assert platform.ram_available() > 2**28
    assert platform.cpu_identity() == platform.cpu_identity()


def _files(monkeypatch: pytest.MonkeyPatch, contents: dict[str, str]) -> None:
    def read(self: Path, *_arguments: object, **_named: object) -> str:
        if str(self) in contents:
            return contents[str(self)]
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", read)


MEMINFO = {"/proc/meminfo": "MemTotal: 100 kB\nMemAvailable: 64 kB\n"}


def test_threads_of_one_core_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    siblings = {f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 2}" for cpu in range(4)}
    _files(monkeypatch, siblings)
    assert platform.physical_cores() == 2
    _files(monkeypatch, {})
    assert platform.physical_cores() == 4


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), ("odd", 4)]
)
def test_a_cgroups_quota_counts(monkeypatch: pytest.MonkeyPatch, quota: str, cores: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    _files(monkeypatch, {"/sys/fs/cgroup/cpu.max": quota})
    assert platform.physical_cores() == cores


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, 65536),
        ({"/sys/fs/cgroup/memory.max": "max\n"}, 65536),
        (
            {
                "/sys/fs/cgroup/memory.max": "10000",
                "/sys/fs/cgroup/memory.current": "6000",
                "/sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 500\nactive_file 100\n",
            },
            4600,
        ),
        ({"/sys/fs/cgroup/memory.max": "10000"}, 65536),
    ],
)
def test_the_least_of_machine_and_cgroup_is_available(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], available: int
) -> None:
    _files(monkeypatch, MEMINFO | files)
    assert platform.ram_available() == available
