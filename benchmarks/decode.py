"""Decode speed through the worker, messages and terminal included, against a bare loop over llama_decode.

    python benchmarks/decode.py [--rounds 7] [--tokens 150] [--busy]

Both run the demo model with the same build, threads, context and prompt, greedily, in turns; the result is the ratio of
the medians. The mixchat side is timed in the front, from its first shown token to its last, writing to a
pseudo-terminal. With --busy another process keeps one core busy, the bare loop runs with OpenMP's default spinning
(what a tool without mixchat's environment gets), and mixchat samples at a temperature of 0.01: a greedy answer must be
the same on every run, so its thread count stays.
"""

import argparse
import json
import multiprocessing
import os
import pty
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from mixchat.app.asking import Question, ask, rehearse
from mixchat.app.source import located
from mixchat.chat.messages import Message
from mixchat.cli.wiring import open_house, settings_from
from mixchat.engine.events import Finished, Token
from mixchat.engine.platform import physical_cores
from mixchat.ui.answer import AnswerWriter
from mixchat.ui.progress import shown

PROMPT = "Write a long story about a lighthouse keeper who finds a map, with many details."


def through_mixchat(tokens: int, temperature: float) -> float:
    """Tokens per second that a person at a terminal gets."""
    settings = settings_from({"temperature": temperature, "max_tokens": tokens})
    question = Question("demo", (Message("user", PROMPT),))
    master, slave = pty.openpty()
    reader = threading.Thread(target=_drain, args=(master,), daemon=True)
    reader.start()
    times: list[float] = []
    with open_house() as house, os.fdopen(slave, "w", encoding="utf-8") as screen, AnswerWriter(screen) as writer:
        for event in shown(ask(house, settings, question), "demo", screen, os.environ):
            if isinstance(event, Token):
                writer.write(event.text)
                times.append(time.perf_counter())
            elif isinstance(event, Finished) and event.usage.completion_tokens != tokens:
                raise SystemExit(f"the answer ended after {event.usage.completion_tokens} tokens")
    return (tokens - 1) / (times[-1] - times[0])


def bare(tokens: int, job: dict[str, object], *, spinning: bool) -> float:
    """Tokens per second of the bare loop."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    if not spinning:
        environ["GOMP_SPINCOUNT"] = "1000"
    script = Path(__file__).with_name("bare_loop.py")
    command = [sys.executable, str(script), json.dumps(job | {"count": tokens})]
    return float(subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Run the rounds and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    job = _job()
    neighbour = multiprocessing.Process(target=_spin, daemon=True)
    if options.busy:
        neighbour.start()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(options.rounds):
        ours.append(through_mixchat(options.tokens, 0.01 if options.busy else 0.0))
        theirs.append(bare(options.tokens, job, spinning=options.busy))
        print(f"mixchat {ours[-1]:6.1f}  bare {theirs[-1]:6.1f} tokens/s", flush=True)
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"median {statistics.median(ours):.1f} against {statistics.median(theirs):.1f}: ratio {ratio:.3f}")
    if options.busy:
        neighbour.kill()


def _job() -> dict[str, object]:
    with open_house() as house:
        settings = settings_from({})
        rehearsal = rehearse(house, settings, Question("demo", (Message("user", PROMPT),)))
        path = str(located(house, "demo").path)
        proof, _new = house.prove()
    return {
        "path": path,
        "tokens": list(rehearsal.prompt.tokens),
        "threads": physical_cores(),
        "context": rehearsal.context,
        "extra_buffers": proof.extra_buffers,
    }


def _drain(descriptor: int) -> None:
    while True:
        try:
            if not os.read(descriptor, 65536):
                return
        except OSError:
            return


def _spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
