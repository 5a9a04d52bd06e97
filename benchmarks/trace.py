"""What seeing the experts costs: a trace against a plain prefill of the same tokens.

    python benchmarks/trace.py [--rounds 3] [--tokens 512 2048]

In turns, on the demo model and real text, in one worker: the tokens evaluated from an empty KV cache, and traced, the
second context's making included. It prints the medians of the seconds and of the paired ratios.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files

from mixchat.app.source import located
from mixchat.chat.messages import Text
from mixchat.cli.wiring import open_house, settings_from
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest, TraceRequest

TARGET = 1.5


def main() -> None:
    """Load once, then measure each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 2048])
    options = parser.parse_args()
    with open_house() as house, closing(WorkerClient(os.environ)) as engine:
        settings_from({})
        path = str(located(house, "demo").path)
        threads = os.cpu_count() or 1
        list(engine.load(LoadRequest(path, context=max(options.tokens) + 256, threads=threads)))
        text = files("mixchat.app").joinpath("alice.txt").read_text(encoding="utf-8")
        (tokens,) = engine.tokenize((Text(text),), prompt=True)
        for count in options.tokens:
            measure(engine, tokens[:count], options.rounds)


def measure(engine: WorkerClient, tokens: tuple[int, ...], rounds: int) -> None:
    """Both in turns, the first one changing from round to round."""
    plain, traced = [], []
    for turn in range(rounds):
        runs = [
            (plain, lambda: list(engine.evaluate(tokens))),
            (traced, lambda: list(engine.trace(TraceRequest(tokens)))),
        ]
        for times, run in runs if turn % 2 else reversed(runs):
            list(engine.evaluate((tokens[-1],)))
            times.append(seconds(run))
    ratios = [one / other for one, other in zip(traced, plain, strict=True)]
    print(
        f"{len(tokens)} tokens: prefill {statistics.median(plain):.2f} s, trace {statistics.median(traced):.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; at most {TARGET})",
        flush=True,
    )


def seconds(run: Callable[[], object]) -> float:
    """Wall time."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
