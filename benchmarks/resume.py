"""What restoring a kept KV state costs against the prefill that it replaces.

    python benchmarks/resume.py [--rounds 3] [--tokens 4000] [--cold]

In turns, each in a fresh worker with the demo model, loaded before the clock starts: the prompt is evaluated and its
state kept; then that file is restored and the first token sampled. A restore counts from the call to the first token's
event: opening, checksum, llama.cpp's copy, and the evaluation of the prompt's last token. With --cold the file is put
out of the page cache first. The prompt is real text, of which no part is repeated up to about 10000 tokens.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path

from mixchat.app.source import located
from mixchat.chat.messages import Text
from mixchat.cli.wiring import open_house
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import GenerateRequest, LoadRequest, Sampling, StateKey, Token
from mixchat.engine.platform import physical_cores

KEY = StateKey("benchmark")


def main() -> None:
    """Run the rounds and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    request = load_request(options.tokens)
    times: list[tuple[float, float, float, float]] = []
    with tempfile.TemporaryDirectory(prefix="mixchat-") as folder:
        path = Path(folder, "state")
        for _ in range(options.rounds):
            prefill, keep = evaluated(request, options.tokens, path)
            if options.cold:
                forget(path)
            restore, first = restored(request, options.tokens, path)
            times.append((prefill, keep, restore, first))
            print("  ".join(f"{seconds * 1000:8.1f}" for seconds in times[-1]), "ms", flush=True)
        nbytes = path.stat().st_size
    prefill, keep, restore, first = map(statistics.median, zip(*times, strict=True))
    print(f"{options.tokens} tokens, {nbytes / 2**20:.1f} MiB: prefill {prefill:.2f} s, kept in {keep * 1000:.0f} ms")
    print(
        f"restored in {restore * 1000:.0f} ms, first token {first * 1000:.0f} ms: {first / prefill:.2%} of the prefill"
    )


def load_request(tokens: int) -> LoadRequest:
    """As `mixchat chat` loads the demo on this machine's CPU."""
    with open_house() as house:
        proof, _new = house.prove()
        path = str(located(house, "demo").path)
    context = max(8192, tokens + 256)
    return LoadRequest(path, context, threads=physical_cores(), extra_buffers=proof.extra_buffers)


@contextmanager
def worker(request: LoadRequest, count: int) -> Iterator[tuple[WorkerClient, tuple[int, ...]]]:
    """A loaded worker, and the prompt."""
    text = files("mixchat.app").joinpath("alice.txt").read_text(encoding="utf-8")
    with closing(WorkerClient(os.environ)) as client:
        list(client.load(request))
        (tokens,) = client.tokenize((Text(text),), prompt=True)
        repeated = tokens * (count // len(tokens) + 1)
        yield client, repeated[:count]


def first_token(client: WorkerClient, tokens: tuple[int, ...]) -> int:
    """Evaluate what is not yet and sample a token; returns how many were cached."""
    *events, last = client.generate(GenerateRequest(tokens, Sampling(temperature=0), 1))
    assert any(isinstance(event, Token) for event in events)  # noqa: S101
    return last.usage.cached_tokens  # type: ignore[union-attr]


def evaluated(request: LoadRequest, count: int, path: Path) -> tuple[float, float]:
    """Seconds of the prefill, and of keeping its state."""
    with worker(request, count) as (client, tokens):
        started = time.perf_counter()
        assert first_token(client, tokens) == 0  # noqa: S101
        prefilled = time.perf_counter()
        assert client.keep_state(str(path), KEY).tokens == count  # noqa: S101
        return prefilled - started, time.perf_counter() - prefilled


def restored(request: LoadRequest, count: int, path: Path) -> tuple[float, float]:
    """Seconds until the state is restored, and until the first token."""
    with worker(request, count) as (client, tokens):
        started = time.perf_counter()
        found = client.restore_state(str(path), KEY)
        back = time.perf_counter()
        assert found.tokens == count, found.reason  # noqa: S101
        assert first_token(client, tokens) == count - 1  # noqa: S101
        return back - started, time.perf_counter() - started


def forget(path: Path) -> None:
    """Put a file's pages out of the page cache; they are on the disk."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
