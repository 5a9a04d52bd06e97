"""What the operating system says about this machine: cores, memory, the processor's name.

Knows Linux and macOS; refuses to know what follows from it. The macOS branches are untested.
"""

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path


def physical_cores() -> int:
    """Cores this process may use, counting two threads of one core once; at least 1."""
    if sys.platform == "darwin":  # pragma: no cover - no such machine
        return int(_sysctl("hw.physicalcpu") or os.cpu_count() or 1)
    allowed = os.sched_getaffinity(0)
    cores = {_siblings(cpu) for cpu in allowed}
    return max(1, min(len(cores), _cgroup_cpus() or len(cores)))


def ram_available() -> int:
    """Bytes of RAM that a new process can use without swapping: the least of MemAvailable and the cgroup's room."""
    if sys.platform == "darwin":  # pragma: no cover - no such machine
        return int(_sysctl("hw.memsize") or 0)
    kib = next(
        int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    room = _cgroup_room()
    return kib * 1024 if room is None else min(kib * 1024, room)


def cpu_identity() -> str:
    """A short name that changes with the processor or its features: what a build's self test depends on."""
    if sys.platform == "darwin":  # pragma: no cover - no such machine
        text = _sysctl("machdep.cpu.brand_string")
    else:
        wanted = ("model name", "flags", "Features", "CPU part")
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
        text = "\n".join(line for line in lines if line.startswith(wanted))
    return hashlib.sha256((platform.machine() + text).encode()).hexdigest()[:16]


def _siblings(cpu: int) -> str:
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _cgroup_cpus() -> int | None:
    """Whole CPUs of the cgroup's quota; None without one."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None


def _cgroup_room() -> int | None:
    """Bytes until the cgroup's limit, page cache not counted; None without a limit."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        stat = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        return int(limit) - used + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
    except (OSError, ValueError):
        return None


def _sysctl(name: str) -> str:  # pragma: no cover - macOS
    return subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
