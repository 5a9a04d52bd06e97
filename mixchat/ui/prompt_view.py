"""What `/show prompt` shows: a prompt as it is evaluated, segment by segment.

Knows how a text is made readable and short; refuses to know how prompts are made. Everything shown is cleaned.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from mixchat.app.prompt import Prompt, Segment
from mixchat.ui.sanitize import single_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - for annotations

_BEGIN, _END = 200, 100
_TABLE_FROM: Final = 60
_ROLE_COLUMNS, _NUMBER_COLUMNS = len("assistant"), len("131072")
_HEADINGS: Final = ("whose", "tokens", "so far", "text")


@dataclass(frozen=True, slots=True)
class _Line:
    """A segment, and all tokens up to its end."""

    segment: Segment
    total: int


@dataclass(frozen=True, slots=True)
class _PromptView:
    prompt: Prompt
    context: int

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        from rich.text import Text

        totals = accumulate(len(segment.tokens) for segment in self.prompt.segments)
        lines = [_Line(segment, total) for segment, total in zip(self.prompt.segments, totals, strict=True)]
        used = lines[-1].total if lines else 0
        wide = options.max_width >= _TABLE_FROM
        if wide:
            yield _grid([_HEADINGS])
        for number, turn in _turns(lines):
            yield Text(_heading(number, turn, self.context), style="bold")
            yield from (_grid(map(_row, turn)),) if wide else _stacked(turn)
        yield Text(_sum(used, self.context), style="bold")


def prompt_view(prompt: Prompt, context: int) -> "RenderableType":
    """Whose each segment is, its tokens and text, by turns, with the running total and the share of the context.

    A turn begins with what the person says; the template's marks in front of that count for what is before. Line ends
    and control characters are shown as marks, and long texts without their middle.

    Args:
        prompt: All of it.
        context: Tokens that fit the model's context.
    """
    return _PromptView(prompt, context)


def _turns(lines: Sequence[_Line]) -> Iterator[tuple[int, list[_Line]]]:
    """The segments of each turn, counted from 1; what comes before the first one is number 0."""
    begins = [index for index, line in enumerate(lines) if line.segment.role == "user"]
    borders = [0, *begins, len(lines)]
    for number, (begin, end) in enumerate(pairwise(borders)):
        if begin < end:
            yield number, list(lines[begin:end])


def _heading(number: int, turn: Sequence[_Line], context: int) -> str:
    tokens = sum(len(line.segment.tokens) for line in turn)
    name = f"turn {number}" if number else "start"
    return f"{name}: {_count(tokens)}, {_share(tokens, context)} of the context"


def _grid(rows: Iterable[tuple[str, ...]]) -> "RenderableType":
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=_ROLE_COLUMNS, no_wrap=True)
    for _number in range(2):
        grid.add_column(width=_NUMBER_COLUMNS, justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def _row(line: _Line) -> tuple[str, ...]:
    segment = line.segment
    return segment.role, str(len(segment.tokens)), str(line.total), _shown(segment)


def _stacked(turn: Sequence[_Line]) -> "Iterator[RenderableType]":
    from rich.padding import Padding
    from rich.text import Text

    for line in turn:
        yield Text(f"{line.segment.role}, {_count(len(line.segment.tokens))}, {line.total} in all", overflow="fold")
        yield Padding(Text(_shown(line.segment), overflow="fold"), (0, 0, 0, 2))


def _shown(segment: Segment) -> str:
    text = segment.text
    left_out = len(text) - _BEGIN - _END
    if left_out <= 0:
        return single_line(text)
    return f"{single_line(text[:_BEGIN])} [... {left_out:,} characters ...] {single_line(text[-_END:])}"


def _sum(used: int, context: int) -> str:
    return f"{used} of {_count(context)}, {_share(used, context)} of the context; {max(context - used, 0)} are left"


def _count(tokens: int) -> str:
    return "1 token" if tokens == 1 else f"{tokens} tokens"


def _share(tokens: int, context: int) -> str:
    return f"{100 * tokens / max(context, 1):.1f} %"
