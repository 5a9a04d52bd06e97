"""How long a plan takes, and what it weighs.

    python benchmarks/plan.py [--rounds 3]

Two figures: `place` alone for the real Mixtral in eight quantizations, with the VRAM, RAM and context of common
machines (median and worst of all, milliseconds); and the whole command `mixchat plan FILE` on a header-only sparse
Mixtral Q4_K_M (seconds, and the peak memory of its front and of its worker).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import product
from pathlib import Path

import psutil

from mixchat.errors import DoesNotFit
from mixchat.plan.place import place
from mixchat.plan.values import Machine, Wishes
from tests.builders import QUANTS, mixtral_header, sparse_file
from tests.plan.machines import GIB, machine, mixtral

VRAM = ((), (6,), (8,), (12,), (16,), (24,), (48,), (80,), (12, 12), (24, 8), (12, 8, 8))


def placing(rounds: int) -> list[float]:
    """Milliseconds of each plan: the least of its rounds, because other processes only ever add to it."""
    found = []
    for quant, vram, ram, context in product(QUANTS, VRAM, (16, 32, 64), (None, 4096, 16384, 32768)):
        there, wishes = machine(ram * GIB, *(size * GIB for size in vram)), Wishes(context=context)
        found.append(min(_timed(quant, there, wishes) for _ in range(rounds)))
    return found


def _timed(quant: str, there: Machine, wishes: Wishes) -> float:
    started = time.perf_counter()
    with suppress(DoesNotFit):
        place(mixtral(quant), there, wishes)
    return (time.perf_counter() - started) * 1000


def command(path: Path) -> tuple[float, int]:
    """Seconds and peak bytes of the command and its children together."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "mixchat", "plan", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.005)
    return time.perf_counter() - started, peak


def _memory(pid: int) -> int:
    try:
        parent = psutil.Process(pid)
        return sum(each.memory_info().rss for each in (parent, *parent.children(recursive=True)))
    except psutil.Error:
        return 0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    times = placing(rounds)
    print(f"place: {len(times)} plans, median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MIXCHAT_HOME", folder)
        path = sparse_file(Path(folder, "mixtral.gguf"), mixtral_header("static/Q4_K_M"))
        command(path)
        runs = [command(path) for _ in range(rounds)]
    seconds, peak = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
    print(f"mixchat plan: median {seconds:.2f} s, peak {peak / 2**20:.0f} MiB of all its processes")


if __name__ == "__main__":
    main()
