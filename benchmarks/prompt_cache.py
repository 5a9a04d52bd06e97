"""What the prompt cache saves: the second question about the same long beginning against the first.

    python benchmarks/prompt_cache.py [--rounds 3] [--tokens 2000]

In each round, with the cache empty and each in a process of its own that loads the demo model before the clock starts:
a question behind the beginning, greedily answered, whose beginning is evaluated and kept; then the same question, which
starts from the disk. What is compared is `prefill_ms` of the answer's own timings: all until the first token's logits,
restoring included, and keeping excluded, which is shown beside it. The answers must be the same tokens.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from mixchat.app.events import Opened
from mixchat.app.house import House
from mixchat.app.opening import open_model
from mixchat.app.prompt import build
from mixchat.app.prompt_cache import PromptCache, fixed_tokens
from mixchat.app.source import located, prompt_format
from mixchat.chat.messages import Message
from mixchat.cli.wiring import open_house, settings_from
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateRequest, Sampling, Token

BUDGET = 4 << 30
QUESTION = "Who is Alice? Answer in one sentence."
CHARACTERS_PER_TOKEN = 4.3


def main() -> None:
    """Run the rounds and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=2000)
    options = parser.parse_args()
    ratios = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="mixchat-") as folder:
            first, said = asked(Path(folder), options.tokens)
            second, again = asked(Path(folder), options.tokens)
        assert said == again, "the answers differ"  # noqa: S101
        assert (first.usage.cached_tokens, second.usage.cached_tokens > 0) == (0, True)  # noqa: S101
        ratios.append(first.timings.prefill_ms / second.timings.prefill_ms)
        print(
            f"{second.usage.cached_tokens} of {first.usage.prompt_tokens} tokens kept  "
            f"prefill {first.timings.prefill_ms:8.0f} ms, then {second.timings.prefill_ms:6.0f} ms  "
            f"kept in {first.timings.ttft_ms - first.timings.prefill_ms:4.0f} ms  {ratios[-1]:6.1f}x",
            flush=True,
        )
    print(f"median {statistics.median(ratios):.1f}x; the same answer of {len(said)} tokens each time")


@contextmanager
def house_in(cache: Path) -> Iterator[House]:
    """The user's own house with an empty cache and a worker of its own."""
    with open_house() as house, closing(WorkerClient(os.environ)) as engine:
        yield replace(house, engine=engine, places=replace(house.places, cache=cache))


def asked(cache: Path, tokens: int) -> tuple[Finished, list[int]]:
    """The end of an answer, and its tokens."""
    text = files("mixchat.app").joinpath("alice.txt").read_text(encoding="utf-8")
    message = Message("user", f"{text[: int(tokens * CHARACTERS_PER_TOKEN)]}\n\n{QUESTION}")
    with house_in(cache) as house:
        source, settings = located(house, "demo"), settings_from({})
        (opened,) = (each for each in open_model(house, source, settings) if isinstance(each, Opened))
        prompt = build(house.engine, prompt_format(source), (message,), {})
        fixed = fixed_tokens(house.engine, prompt, QUESTION)
        request = GenerateRequest(prompt.tokens, Sampling(temperature=0), 24, own_batch=fixed)
        kept = PromptCache(house, opened, BUDGET)
        events = list(kept.answer(prompt.tokens, fixed, lambda: house.engine.generate(request)))
    assert isinstance(events[-1], Finished)  # noqa: S101
    return events[-1], [event.id for event in events if isinstance(event, Token)]


if __name__ == "__main__":
    main()
