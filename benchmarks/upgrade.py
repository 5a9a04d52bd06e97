"""How fast `mixchat upgrade` is beside `cp` and beside hashing.

    python benchmarks/upgrade.py FOLDER [--layers 2] [--rounds 5]

Writes a legacy file of random bytes with Mixtral's own tensors (0.9 GB a layer) into FOLDER, and then in turns: copies
it with `cp` and syncs the copy, hashes it with sha256, and upgrades it, which reads it once, writes it once, reads
the result back, hashes both and syncs. FOLDER needs three times the size.
"""

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mixchat.gguf.header import parse_header
from mixchat.models.upgrade import upgrade

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.builders import mixtral_header

PIECE = 64 << 20


def write_legacy(path: Path, layers: int) -> int:
    """Random bytes behind a real header; returns its size."""
    header = mixtral_header("thebloke-legacy/Q4_K_M", layers)
    size = parse_header(header).file_bytes
    with path.open("wb") as file:
        file.write(header)
        for start in range(len(header), size, PIECE):
            file.write(os.urandom(min(PIECE, size - start)))
        os.fsync(file.fileno())
    return size


def timed(work: Callable[[], object], target: Path | None = None) -> float:
    """Seconds that it takes, the target removed before."""
    if target is not None:
        target.unlink(missing_ok=True)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def copy(source: Path, target: Path) -> None:
    """Copy as a person does, and wait for the disk."""
    subprocess.run(["cp", "--reflink=never", str(source), str(target)], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def sha256(source: Path) -> None:
    """Hash a file."""
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    source, copied, target = (given.folder / f"bench-{name}.gguf" for name in ("legacy", "copy", "merged"))
    size = write_legacy(source, given.layers)
    works: dict[str, tuple[Callable[[], object], Path | None]] = {
        "cp": (lambda: copy(source, copied), copied),
        "sha256": (lambda: sha256(source), None),
        "upgrade": (lambda: list(upgrade(source, target)), target),
    }
    speeds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(given.rounds):
        for name, work in works.items():
            speeds[name].append(size / 1e6 / timed(*work))
        print("  ".join(f"{name} {found[-1]:.0f} MB/s" for name, found in speeds.items()), flush=True)
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"median of {given.rounds}, {size / 1e9:.1f} GB: " + ", ".join(f"{n} {m:.0f}" for n, m in medians.items()))
    print(f"upgrade / cp: {medians['upgrade'] / medians['cp']:.2f}; peak memory {peak} MiB")
    for path in (source, copied, target):
        path.unlink()


if __name__ == "__main__":
    main()
