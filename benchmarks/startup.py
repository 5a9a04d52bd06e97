"""How long `mixchat --help` takes beside `python -c "import typer"`, in turns.

python benchmarks/startup.py [--rounds 31]
"""

import argparse
import statistics
import subprocess
import sys
import time


def seconds(*command: str) -> float:
    """Wall-clock time of a command."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Run the rounds and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    ours: list[float] = []
    typer: list[float] = []
    for _ in range(rounds):
        typer.append(seconds(sys.executable, "-c", "import typer"))
        ours.append(seconds(sys.executable, "-m", "mixchat", "--help"))
    mine, theirs = statistics.median(ours) * 1000, statistics.median(typer) * 1000
    print(f"mixchat --help {mine:.0f} ms, import typer {theirs:.0f} ms: ratio {mine / theirs:.2f} ({rounds} rounds)")


if __name__ == "__main__":
    main()
