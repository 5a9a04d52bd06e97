"""Download throughput beside curl, from a hub on loopback to the same disk, in turns.

    python benchmarks/download.py [--rounds 5] [--mebibytes 512] [--folder FOLDER]

Ours is timed from the call of `fetch` until the model is installed: resolving, hashing, fsync and the import of the hub
library included. curl writes the same bytes and does nothing else. Run it from the top of a checkout.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixchat.models.download import fetch
from mixchat.models.hub import Hub
from mixchat.store.places import find_places

REPO = "owner/name"
FILE = "model.gguf"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder in a process of its own; the hub's address."""
    command = [sys.executable, "-m", "tests.fakes.hub", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            yield next(line for line in process.stdout if "HF_ENDPOINT=" in line).strip().partition("=")[2]
        finally:
            process.kill()


def curl(endpoint: str, home: Path) -> float:
    """Seconds that curl takes."""
    url = f"{endpoint}/{REPO}/resolve/main/{FILE}"
    started = time.perf_counter()
    subprocess.run(["curl", "--silent", "--fail", "--location", "--output", str(home / FILE), url], check=True)
    return time.perf_counter() - started


def ours(endpoint: str, home: Path) -> tuple[float, float]:
    """Seconds and peak resident MB of a process that fetches."""
    command = [sys.executable, __file__, "--child", endpoint, "--folder", str(home)]
    seconds, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(peak)


def child(endpoint: str, home: str) -> None:
    """Fetch once and print seconds and peak resident MB."""
    started = time.perf_counter()
    hub = Hub(endpoint)
    for _ in fetch(find_places({"MIXCHAT_HOME": home}), hub, "m", hub.info(REPO).files, "a benchmark"):
        pass
    seconds = time.perf_counter() - started
    unit = 1e6 if sys.platform == "darwin" else 1e3
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def compare(endpoint: str, folder: Path, rounds: int, megabytes: float) -> None:
    """Run the rounds and print medians and their ratio."""
    mine: list[float] = []
    theirs: list[float] = []
    peaks: list[float] = []
    for _ in range(rounds):
        with fresh(folder) as home:
            theirs.append(megabytes / curl(endpoint, home))
        with fresh(folder) as home:
            seconds, peak = ours(endpoint, home)
        mine.append(megabytes / seconds)
        peaks.append(peak)
        print(f"mixchat {mine[-1]:6.0f} MB/s  curl {theirs[-1]:6.0f} MB/s  peak {peak:.0f} MB", flush=True)
    fast, plain = statistics.median(mine), statistics.median(theirs)
    print(f"median {fast:.0f} against {plain:.0f} MB/s: ratio {fast / plain:.2f}; peak memory {max(peaks):.0f} MB")


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """A new folder, on a disk that has nothing left to write."""
    os.sync()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield Path(name)


def main() -> None:
    """Parse, make the file, serve it, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--folder", type=Path, help="on the disk to write to")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, str(options.folder))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        repo = Path(name) / "hub" / REPO
        repo.mkdir(parents=True)
        with (repo / FILE).open("wb") as file:
            file.write(b"GGUF" + os.urandom((1 << 20) - 4))
            for _ in range(options.mebibytes - 1):
                file.write(os.urandom(1 << 20))
        with served(Path(name) / "hub") as endpoint:
            compare(endpoint, Path(name), options.rounds, options.mebibytes * 1.048576)


if __name__ == "__main__":
    main()
