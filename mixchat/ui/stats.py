"""The one line of `ask --stats`.

Knows what to say of an answer's cost; refuses to know streams. ASCII, so that any log takes it.
"""

from mixchat.engine.events import Finished, Loaded

_EXACT_BELOW = 100


def stats_line(finished: Finished, loaded: Loaded) -> str:
    """Seconds to load, tokens and speed of prefill, seconds to the first token, tokens and speed of decode."""
    usage, timings = finished.usage, finished.timings
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    parts = (
        f"load {_seconds(loaded.load_ms)}",
        f"prefill {_tokens(usage.prompt_tokens)}{cached}{_speed(timings.prefill_tps)}",
        f"first token {_seconds(timings.ttft_ms)}",
        f"decode {_tokens(usage.completion_tokens)}{_speed(timings.decode_tps)}",
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


def _speed(per_second: float) -> str:
    return f", {format_speed(per_second)}" if per_second > 0 else ""


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.2f} s"


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"
