from pathlib import Path

import pytest

from mixchat.engine import platform

MIB = 1 << 20
CGROUP = "sys/fs/cgroup"
STAT = f"anon 1\ninactive_file {5 * MIB}\nactive_file {MIB}\n"
STAT_1 = f"inactive_file 0\ntotal_inactive_file {5 * MIB}\ntotal_active_file {MIB}\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    """A file tree like a system's, with 64 MiB of RAM available."""
    for name, text in ({"proc/meminfo": f"MemTotal: 100 kB\nMemAvailable: {64 * 1024} kB\n"} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(folder: str, limit: str, used: int, stat: str = STAT, name: str = "memory.max") -> dict[str, str]:
    return {
        f"{folder}/{name}": limit,
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": stat,
    }


def v1(folder: str, limit: int, used: int) -> dict[str, str]:
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": STAT_1,
    }


def test_this_machine_has_cores_memory_and_a_name() -> None:
    assert platform.physical_cores() >= 1
    assert platform.ram_available() > 2**28
    assert platform.cpu_identity() == platform.cpu_identity()


def test_threads_of_one_core_count_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    assert platform.physical_cores(tmp_path) == 4
    siblings = {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 2}" for cpu in range(4)}
    assert platform.physical_cores(machine(tmp_path, siblings)) == 2


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({f"{CGROUP}/cpu.max": "max 100000"}, 4),
        ({f"{CGROUP}/cpu.max": "200000 100000"}, 2),
        ({f"{CGROUP}/cpu.max": "50000 100000"}, 1),
        ({f"{CGROUP}/cpu.max": "900000 100000"}, 4),
        ({f"{CGROUP}/cpu.max": "odd"}, 4),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{CGROUP}/a/b/cpu.max": "max 100000",
                f"{CGROUP}/a/cpu.max": "300000 100000",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/a\n0::/\n",
                f"{CGROUP}/cpu/a/cpu.cfs_quota_us": "200000",
                f"{CGROUP}/cpu/a/cpu.cfs_period_us": "100000",
                f"{CGROUP}/cpu/cpu.cfs_quota_us": "-1",
                f"{CGROUP}/cpu/cpu.cfs_period_us": "100000",
            },
            2,
        ),
    ],
)
def test_a_cgroups_quota_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    assert platform.physical_cores(machine(tmp_path, files)) == cores


INSIDE = {"proc/self/cgroup": "0::/user/session\n"}
IN_V1 = {"proc/self/cgroup": "9:memory:/docker/x\n1:name=systemd:/docker/x\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "available"),
    [
        pytest.param({}, 64 * MIB, id="no cgroups"),
        pytest.param(v2(CGROUP, "max\n", 1), 64 * MIB, id="no limit"),
        pytest.param(v2(CGROUP, str(40 * MIB), 30 * MIB), 16 * MIB, id="a limit, and page cache inside"),
        pytest.param({f"{CGROUP}/memory.max": str(MIB)}, 64 * MIB, id="a limit alone tells nothing"),
        pytest.param(v2(CGROUP, str(MIB), 20 * MIB), 0, id="above its limit"),
        pytest.param(v2(CGROUP, str(10 * MIB), MIB, name="memory.high"), 15 * MIB, id="throttled before the limit"),
        pytest.param(INSIDE | v2(f"{CGROUP}/user/session", str(9 * MIB), 5 * MIB), 10 * MIB, id="its own group"),
        pytest.param(
            INSIDE | v2(f"{CGROUP}/user/session", "max", 1) | v2(f"{CGROUP}/user", str(9 * MIB), 7 * MIB),
            8 * MIB,
            id="the group above",
        ),
        pytest.param(
            INSIDE | v2(f"{CGROUP}/user/session", str(9 * MIB), 5 * MIB) | v2(f"{CGROUP}/user", str(8 * MIB), 7 * MIB),
            7 * MIB,
            id="the least of two",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/../other\n"} | v2(CGROUP, str(9 * MIB), 5 * MIB), 10 * MIB, id="outside the mount"
        ),
        pytest.param(IN_V1 | v1(f"{CGROUP}/memory/docker/x", 9 * MIB, 5 * MIB), 10 * MIB, id="version 1"),
        pytest.param(IN_V1 | v1(f"{CGROUP}/memory", 8 * MIB, 5 * MIB), 9 * MIB, id="version 1 in a container"),
        pytest.param(IN_V1 | v1(f"{CGROUP}/memory", 0x7FFFFFFFFFFFF000, 5 * MIB), 64 * MIB, id="version 1, no limit"),
    ],
)
def test_the_least_of_machine_and_cgroups_is_available(tmp_path: Path, files: dict[str, str], available: int) -> None:
    assert platform.ram_available(machine(tmp_path, files)) == available
