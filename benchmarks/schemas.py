"""Answers that obey random JSON schemas: how many are valid, how many cut, and what the grammar costs.

    python benchmarks/schemas.py [--first 0] [--count 50] [--tokens 512]

With the demo model, one seeded answer for each schema (tests/random_schemas.py), and at once a free answer of as many
tokens to the same prompt; the speed is the median of the pairs' ratios. An answer that ends and is not valid ends the
run: there must be none.
"""

import argparse
import json
import statistics
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mixchat.app.constraints import schema_constraint
from mixchat.app.source import located
from mixchat.chat.messages import Control, Text
from mixchat.cli.wiring import open_house
from mixchat.engine.events import Finished, GenerateRequest, LoadRequest, Sampling, Token
from mixchat.engine.platform import physical_cores
from mixchat.engine.port import Engine
from tests.random_schemas import random_schema

_FEWEST = 16
"""Tokens of a pair that counts; fewer say nothing about speed."""


def answer(engine: Engine, request: GenerateRequest) -> tuple[str, Finished]:
    """Text and end."""
    text = ""
    for event in engine.generate(request):
        if isinstance(event, Token):
            text += event.text
        elif isinstance(event, Finished):
            return text, event
    raise SystemExit("no end")


def pair(engine: Engine, seed: int, tokens: int) -> tuple[str, float | None]:
    """What became of one schema's answer, and its speed over a free answer's."""
    schema = json.dumps(random_schema(seed))
    constraint = schema_constraint(schema)
    question = f"Give me an example of JSON that satisfies this schema: {schema}"
    pieces = (Control("<|im_start|>user\n"), Text(question), Control("<|im_end|>\n<|im_start|>assistant\n"))
    prompt = tuple(token for ids in engine.tokenize(pieces, prompt=True) for token in ids)
    text, end = answer(engine, GenerateRequest(prompt, Sampling(seed=seed), tokens, grammar=constraint.grammar))
    if end.reason == "stop":
        constraint.check(text)
    count = end.usage.completion_tokens
    _text, free = answer(engine, GenerateRequest(prompt, Sampling(seed=seed), count))
    enough = min(count, free.usage.completion_tokens) >= _FEWEST
    return end.reason, end.timings.decode_tps / free.timings.decode_tps if enough else None


def main() -> None:
    """Run the pairs and print the counts and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=512)
    options = parser.parse_args()
    ends: Counter[str] = Counter()
    ratios: list[float] = []
    with open_house() as house:
        path = str(located(house, "demo").path)
        list(house.engine.load(LoadRequest(path, context=4096, threads=physical_cores())))
        for seed in range(options.first, options.first + options.count):
            reason, ratio = pair(house.engine, seed, options.tokens)
            ends[reason] += 1
            ratios += [ratio] if ratio else []
            print(f"schema {seed:3}: {reason:6} speed {f'{ratio:.3f}' if ratio else '-'}", flush=True)
    median = f"{statistics.median(ratios):.3f}" if ratios else "-"
    print(
        f"valid {ends['stop']}, cut {ends['length']}, invalid 0; constrained / free {median} over {len(ratios)} pairs"
    )


if __name__ == "__main__":
    main()
