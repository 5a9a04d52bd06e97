"""What `/show stats` shows: the last answer's cost and this chat's.

Knows which figures and how they read; refuses to know who counts them. Everything shown is cleaned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixchat.app.events import Opened
from mixchat.app.truth import allocations
from mixchat.engine.events import Finished
from mixchat.plan.units import format_bytes
from mixchat.ui.sanitize import single_line
from mixchat.ui.stats import format_seconds, format_tokens, speed_part

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class ChatTotals:
    """What the answers of a chat have cost together; tokens and milliseconds.

    Attributes:
        answers: How many there were.
        prefilled: Tokens of prompts that were evaluated.
        cached: Tokens of prompts that were evaluated before.
        said: Tokens of answers.
    """

    answers: int = 0
    prefilled: int = 0
    cached: int = 0
    said: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0

    def plus(self, finished: Finished) -> "ChatTotals":
        """The totals one answer later."""
        usage, timings = finished.usage, finished.timings
        return ChatTotals(
            self.answers + 1,
            self.prefilled + usage.prompt_tokens - usage.cached_tokens,
            self.cached + usage.cached_tokens,
            self.said + usage.completion_tokens,
            self.prefill_ms + timings.prefill_ms,
            self.decode_ms + timings.decode_ms,
        )


def chat_stats_view(finished: Finished | None, opened: Opened | None, totals: ChatTotals) -> "RenderableType":
    """The last answer's prefill, first token and decode; loading and memory, real and planned; the chat's totals.

    Args:
        finished: The last answer's end; None before the first one.
        opened: The model; None when none is loaded.
        totals: Of all answers.
    """
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in (*_answer(finished), *_model(opened), *_chat(totals)):
        grid.add_row(label, single_line(text))
    return grid


def _answer(finished: Finished | None) -> Iterator[tuple[str, str]]:
    if finished is None:
        yield "answer", "none yet"
        return
    usage, timings = finished.usage, finished.timings
    evaluated = usage.prompt_tokens - usage.cached_tokens
    speed = speed_part(timings.prefill_tps)
    yield "prompt", f"{format_tokens(usage.prompt_tokens)}, {usage.cached_tokens} of them cached"
    yield "prefill", f"{format_tokens(evaluated)} in {format_seconds(timings.prefill_ms)}{speed}"
    yield "first token", f"after {format_seconds(timings.ttft_ms)}"
    decoded = f"{format_tokens(usage.completion_tokens)} in {format_seconds(timings.decode_ms)}"
    yield "decode", decoded + speed_part(timings.decode_tps)
    if timings.major_faults:
        yield "disk", f"{timings.major_faults:,} pages were read from the disk meanwhile"


def _model(opened: Opened | None) -> Iterator[tuple[str, str]]:
    if opened is None:
        yield "model", "not loaded"
        return
    yield "load", format_seconds(opened.loaded.load_ms)
    for each in allocations(opened.plan, opened.loaded.buffers):
        planned = f"{format_bytes(each.planned.total)} planned"
        yield f"memory {single_line(each.device)}", f"{format_bytes(each.real.total)} of {planned}"


def _chat(totals: ChatTotals) -> Iterator[tuple[str, str]]:
    count = "1 answer" if totals.answers == 1 else f"{totals.answers} answers"
    yield "this chat", f"{count}, {format_tokens(totals.said)} in {format_seconds(totals.decode_ms)}"
    yield (
        "",
        f"{format_tokens(totals.prefilled)} prefilled in {format_seconds(totals.prefill_ms)}, {totals.cached} cached",
    )
