"""What it costs to render an answer as Markdown: CPU seconds per token, at 200 and at 8000 tokens.

    python benchmarks/render.py [--rounds 5] [--tokens 200 8000]

Every shape of answer is written token by token (four characters each) to a pseudo-terminal that a second process reads;
the CPU time is the writing process's, user and system. The best of the rounds counts, because other work on the machine
only adds to it. Loading Pygments and a language's lexer happens once in a process and is timed apart. At 100 tokens/s a
core has 10 ms for a token; the target is 5 % of that, 0.5 ms, whatever the length.
"""

import argparse
import multiprocessing
import os
import pty
import time
from collections.abc import Callable

from mixchat.ui.markdown import MarkdownWriter

TOKEN = 4
ENVIRON = {"TERM": "xterm-256color", "COLUMNS": "80", "LANG": "C.UTF-8"}
LIMIT_MS = 0.5

PROSE = """## Part {0}

The **router** chooses two of *eight* experts for every token; see [the paper](https://example.org/{0}) and `top_k`.
What it has chosen is known only when the layer before is done, which is why prefetching is hard.

- First, a point with `code` and **weight**.
  - A nested one.
- Second, a longer point that has to be wrapped because it does not fit into eighty columns at all.

"""
CODE = '''def step_{0}(values: list[int]) -> int:
    """Add them up."""
    total = sum(value * {0} for value in values if value > 3)  # skip the small ones
    return total

'''
SHAPES: dict[str, Callable[[int], str]] = {
    "prose, lists, headings": lambda size: _repeat(PROSE, size),
    "one code block": lambda size: "```python\n" + _repeat(CODE, size),
    "one list": lambda size: _repeat("{0}. Item with **weight** and `code`, number {0}.\n", size),
    "one table": lambda size: "| Name | Value |\n|---|---:|\n" + _repeat("| row {0} is **here** | {0} |\n", size),
    "one paragraph": lambda size: _repeat("word{0} and some more of *them* ", size),
    "unclosed ** in front": lambda size: "**" + _repeat("word{0} and some more ", size),
    "unclosed ` in front": lambda size: "`" + _repeat("word{0} and some more ", size),
    "open marks only": lambda size: _repeat("**a _b [c ", size),
    "no blanks at all": lambda size: _repeat("word{0}and", size),
    "wide characters": lambda size: _repeat("路由器为每个标记选择两个专家。", size),
}


def main() -> None:
    """Print a table, and fail when a shape costs too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, nargs="+", default=[200, 8000])
    options = parser.parse_args()
    print(f"loading Pygments and a lexer: {_loading():.0f} ms, once")
    print(f"{'ms per token':24}" + "".join(f"{count:>8} tokens" for count in options.tokens))
    worst = 0.0
    for name, shape in SHAPES.items():
        costs = [min(_cost(shape(count * TOKEN), count) for _ in range(options.rounds)) for count in options.tokens]
        print(f"{name:24}" + "".join(f"{cost:15.4f}" for cost in costs))
        worst = max(worst, *costs)
    print(f"worst {worst:.4f} ms: {worst / 10:.2%} of a core at 100 tokens/s (target {LIMIT_MS} ms)")
    raise SystemExit(worst > LIMIT_MS)


def _repeat(text: str, size: int) -> str:
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(text.format(len(parts)))
        length += len(parts[-1])
    return "".join(parts)[:size]


def _loading() -> float:
    before = time.process_time()
    _cost("```python\nx = 1\n```\n", 1)
    return (time.process_time() - before) * 1000


def _cost(text: str, tokens: int) -> float:
    """CPU milliseconds per token."""
    master, slave = pty.openpty()
    reader = multiprocessing.get_context("fork").Process(target=_drain, args=(master, slave), daemon=True)
    reader.start()
    os.close(master)
    with os.fdopen(slave, "w", encoding="utf-8") as screen:
        before = time.process_time()
        with MarkdownWriter(screen, ENVIRON) as writer:
            for at in range(0, len(text), TOKEN):
                writer.write(text[at : at + TOKEN])
        spent = time.process_time() - before
    reader.join()
    return spent / tokens * 1000


def _drain(master: int, slave: int) -> None:
    os.close(slave)
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass


if __name__ == "__main__":
    main()
