"""How much faster `mixchat ask --each-line` answers many lines than a run for each, and several sequences than one.

`python benchmarks/batch.py MODEL.gguf [--prompts 200] [--runs 2] [--separate 4]`: in turns, medians, 16 tokens of
answer to each prompt. The command is timed from its start to its end, load included; `--separate` times that many
runs of `mixchat ask` with one prompt each. "N at once" is the engine alone, without the load.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from contextlib import closing
from functools import cache
from importlib.resources import files

from mixchat.chat.messages import Control, Text
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateRequest, LoadRequest, Sampling

WORDS = range(2, 8)
SYSTEM = "You are a librarian who reads old novels for people who have no time. You answer in a few plain words."
ASKED = "Say in a few words what this line of a novel is about. Do not name the characters, and do not quote the line."


@cache
def lines() -> tuple[str, ...]:
    """Lines of real text: a novel's clauses of 3 to 8 words."""
    text = files("mixchat.app").joinpath("alice.txt").read_text(encoding="utf-8")
    clauses = (" ".join(clause.split()) for clause in re.split(r"[.,;:!?()]", text))
    return tuple(clause for clause in clauses if clause.count(" ") in WORDS)


def line(number: int) -> str:
    """One of them."""
    return lines()[number % len(lines())]


def prompt(number: int) -> str:
    """What is asked about it, as `ask` joins the two."""
    return f"{ASKED}\n\n{line(number)}"


def together(model: str, sequences: int, prompts: int) -> float:
    """Answers per second, without the load."""
    with closing(WorkerClient(os.environ)) as client:
        list(client.load(LoadRequest(model, 4096, threads=os.cpu_count() or 1, sequences=sequences)))
        started, done = time.monotonic(), 0
        requests = (GenerateRequest(tokens(client, number), Sampling(temperature=0), 16) for number in range(prompts))
        for _index, event in client.generate_many(requests):
            done += isinstance(event, Finished)
        if done != prompts:
            sys.exit("Not every prompt was answered.")
        return prompts / (time.monotonic() - started)


def tokens(client: WorkerClient, number: int) -> tuple[int, ...]:
    """A whole prompt."""
    pieces = (
        *(Control("<|im_start|>system\n"), Text(SYSTEM), Control("<|im_end|>\n<|im_start|>user\n")),
        *(Text(prompt(number)), Control("<|im_end|>\n<|im_start|>assistant\n")),
    )
    return tuple(token for ids in client.tokenize(pieces, prompt=True) for token in ids)


def each_line(model: str, count: int) -> float:
    """Answers per second of one run over all lines, its load included."""
    piped = "".join(f"{line(number)}\n" for number in range(count))
    started = time.monotonic()
    command = [*ask(model), ASKED, "--each-line", "--format", "ndjson"]
    done = subprocess.run(command, check=True, input=piped, text=True, stdout=subprocess.PIPE)
    if done.stdout.count('"event": "done"') != count:
        sys.exit("Not every line was answered.")
    return count / (time.monotonic() - started)


def separately(model: str, count: int) -> float:
    """Answers per second of separate runs, each with its own load."""
    started = time.monotonic()
    for number in range(count):
        subprocess.run([*ask(model), "--no-stdin", prompt(number)], check=True, stdout=subprocess.DEVNULL)
    return count / (time.monotonic() - started)


def ask(model: str) -> list[str]:
    """The command and what all runs have in common."""
    options = ("-m", model, "-s", SYSTEM, "--temperature", "0", "--max-tokens", "16", "-q", "--no-save")
    return [sys.executable, "-m", "mixchat", "ask", *options]


def main() -> None:
    """Measure in turns, print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--separate", type=int, default=4)
    parser.add_argument("--sequences", type=int, nargs="*", default=[1, 2, 4, 8])
    asked = parser.parse_args()
    rates: dict[str, list[float]] = {}
    for _ in range(asked.runs):
        for count in asked.sequences:
            rates.setdefault(f"{count} at once", []).append(together(asked.model, count, asked.prompts))
        rates.setdefault("each line", []).append(each_line(asked.model, asked.prompts))
        if asked.separate:
            rates.setdefault("separate runs", []).append(separately(asked.model, asked.separate))
    for name, found in rates.items():
        print(f"{name}: {statistics.median(found):.2f} answers/s")


if __name__ == "__main__":
    main()
