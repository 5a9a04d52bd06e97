"""The one line of `ask --stats`, and what figures look like.

Knows what to say of an answer's cost; refuses to know streams. ASCII, so that any log takes it.
"""

from collections.abc import Iterable, Iterator

from mixchat.app.events import Opened
from mixchat.app.truth import Allocation, allocations
from mixchat.engine.events import Finished, Loaded
from mixchat.plan.units import format_bytes

_EXACT_BELOW = 100


def stats_line(finished: Finished, opened: Opened) -> str:
    """Seconds to load, tokens and speed of prefill, seconds to the first token, tokens and speed of decode, memory.

    Memory is what llama.cpp really allocated on each device, beside what was planned.
    """
    usage, timings = finished.usage, finished.timings
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    parts = (
        f"load {format_seconds(opened.loaded.load_ms)}",
        f"prefill {format_tokens(usage.prompt_tokens)}{cached}{speed_part(timings.prefill_tps)}",
        f"first token {format_seconds(timings.ttft_ms)}",
        f"decode {format_tokens(usage.completion_tokens)}{speed_part(timings.decode_tps)}",
        *_memory(allocations(opened.plan, opened.loaded.buffers)),
    )
    return " | ".join(parts)


def cut_line(finished: Finished, loaded: Loaded) -> str:
    """Why an answer ends in the middle; empty when it does not."""
    if finished.reason != "length":
        return ""
    usage = finished.usage
    if usage.prompt_tokens + usage.completion_tokens >= loaded.context:
        return f"[cut off: the context of {loaded.context} tokens is full; --ctx gives more]"
    return f"[cut off: --max-tokens {usage.completion_tokens} is reached]"


def format_speed(per_second: float) -> str:
    """Tokens per second such as `7.4 t/s` or `250 t/s`."""
    return f"{per_second:.1f} t/s" if per_second < _EXACT_BELOW else f"{per_second:.0f} t/s"


def _memory(found: Iterable[Allocation]) -> Iterator[str]:
    for each in found:
        yield f"{each.device} {format_bytes(each.real.total)} of {format_bytes(each.planned.total)} planned"


def speed_part(per_second: float) -> str:
    """`, 7.4 t/s` behind a count of tokens; nothing where none were computed."""
    return f", {format_speed(per_second)}" if per_second > 0 else ""


def format_seconds(milliseconds: float) -> str:
    """Milliseconds as seconds such as `1.25 s`."""
    return f"{milliseconds / 1000:.2f} s"


def format_tokens(count: int) -> str:
    """A count such as `1 token` or `22 tokens`."""
    return "1 token" if count == 1 else f"{count} tokens"
