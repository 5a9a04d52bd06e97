"""What the operating system says about this machine: cores, memory, the processor's name.

Knows Linux and macOS; refuses to know what follows from it. The macOS branches are untested.
"""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")
_CGROUPS: Final = Path("sys/fs/cgroup")


def physical_cores(root: Path = _ROOT) -> int:
    """Cores this process may use, counting two threads of one core once; at least 1."""
    if sys.platform == "darwin":  # pragma: no cover - no such machine
        return int(_sysctl("hw.physicalcpu") or os.cpu_count() or 1)
    cores = {_siblings(root, cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, min([len(cores), *map(int, _quotas(root))]))


def ram_available(root: Path = _ROOT) -> int:
    """Bytes of RAM that a new process can use without swapping.

    The least of MemAvailable and of the room in the process's own cgroup and each above it, version 1 or 2.
    """
    if sys.platform == "darwin":  # pragma: no cover - no such machine
        return int(_sysctl("hw.memsize") or 0)
    lines = (root / "proc/meminfo").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return max(0, min([kib * 1024, *_rooms(root)]))


def cpu_identity() -> str:
    """A short name that changes with the processor or its features: what a build's self test depends on."""
    if sys.platform == "darwin":  # pragma: no cover - no such machine
        text = _sysctl("machdep.cpu.brand_string")
    else:
        wanted = ("model name", "flags", "Features", "CPU part")
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
        text = "\n".join(line for line in lines if line.startswith(wanted))
    return hashlib.sha256((platform.machine() + text).encode()).hexdigest()[:16]


def _siblings(root: Path, cpu: int) -> str:
    try:
        return (root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _groups(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """The cgroup version and folder of this process's group and of each above it, where they can be seen.

    A container that keeps the host's path in /proc/self/cgroup sees its own group as the root of the mount.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _id, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / _CGROUPS / controller if controllers else root / _CGROUPS
        inside = Path(path.lstrip("/"))
        parts = () if ".." in inside.parts else (inside, *inside.parents)
        yield from ((1 if controllers else 2, base / part) for part in dict.fromkeys((*parts, Path())))


def _quotas(root: Path) -> Iterator[float]:
    """CPUs that the quotas of the cgroups leave."""
    for version, folder in _groups(root, "cpu"):
        try:
            if version == 1:
                quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
            else:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
            if quota > 0:
                yield quota / period
        except (OSError, ValueError, ZeroDivisionError):
            continue


def _rooms(root: Path) -> Iterator[int]:
    """Bytes until each limit, page cache not counted."""
    for version, folder in _groups(root, "memory"):
        used = "memory.usage_in_bytes" if version == 1 else "memory.current"
        for limit in ("memory.limit_in_bytes",) if version == 1 else ("memory.max", "memory.high"):
            try:
                yield _number(folder / limit) - _number(folder / used) + _page_cache(folder, version)
            except (OSError, ValueError):
                continue


def _page_cache(folder: Path, version: int) -> int:
    """Bytes of files that the group and those below it keep in memory and the system takes back when it needs them."""
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    prefix = "total_" if version == 1 else ""
    return sum(int(stat.get(f"{prefix}{name}_file", 0)) for name in ("inactive", "active"))


def _number(path: Path) -> int:
    return int(path.read_text())


def _sysctl(name: str) -> str:  # pragma: no cover - macOS
    return subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
