"""What `/tokens`, `/show settings` and the list of messages for `/edit` and `/undo` look like.

Knows which fact stands where; refuses to know how they are found out. Everything shown is cleaned.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mixchat.chat.messages import Turn
from mixchat.chat.transcript import Transcript
from mixchat.plan.units import format_bytes
from mixchat.store.options import BY_NAME, SETTINGS, Value
from mixchat.store.settings import Settings
from mixchat.ui.sanitize import single_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - for annotations
    from rich.table import Table

_FIRST_WORDS: Final = 300
_VALUE_COLUMNS: Final = 36
_THREE_COLUMNS: Final = 80
_IN_A_CHAT: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "seed",
    "max_tokens",
    "system",
    "ctx",
    "overflow",
    "output",
    "keys",
)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A part of the prompt.

    Attributes:
        number: Of the message, as `/edit` counts them; 0 for what is no message.
        whose: Who wrote it.
        tokens: How many it takes.
        text: Its text, or as much of it as shall be shown.
    """

    number: int
    whose: Literal["system", "summary", "user", "assistant", "template"]
    tokens: int
    text: str


@dataclass(frozen=True, slots=True)
class TokenTable:
    """What the context is full of.

    Attributes:
        rows: As they stand in the prompt.
        total: Tokens of all of it, the format's own included.
        context: Tokens that there is room for.
        left_out: So many of the oldest turns are no longer part of the prompt.
    """

    rows: tuple[TokenRow, ...]
    total: int
    context: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Lines:
    """A table whose last column is cut at the screen's edge, and lines below it."""

    columns: tuple[tuple[str, Literal["left", "right"]], ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        from rich.text import Text

        if self.rows:
            yield self._table()
        yield from (Text(line, overflow="fold") for line in self.below)

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for heading, justify in self.columns[:-1]:
            table.add_column(heading, justify=justify, no_wrap=True)
        # Rich narrows columns that may wrap before all others, so only the cells of the last one say that they do not.
        table.add_column(self.columns[-1][0])
        for *cells, last in self.rows:
            table.add_row(*cells, Text(last, no_wrap=True, overflow="ellipsis"))
        return table


@dataclass(frozen=True, slots=True)
class _SettingsTable:
    """Keys, values and where these are from; on a narrow screen that stands behind the value."""

    rows: tuple[tuple[str, str, str], ...]

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        from rich.table import Table

        if options.max_width >= _THREE_COLUMNS:
            yield _Lines((("key", "left"), ("value", "left"), ("from", "left")), self.rows)
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for key, value, where in self.rows:
            grid.add_row(key, f"{value} ({where})")
        yield grid


def tokens_view(tokens: TokenTable) -> "RenderableType":
    """Each part of the prompt with its tokens and first words; what is left out; what all of it takes."""
    rows = [_token_row(row) for row in tokens.rows]
    if tokens.left_out:
        first = next((index for index, row in enumerate(tokens.rows) if row.number), len(rows))
        what = "the oldest turn" if tokens.left_out == 1 else f"the {tokens.left_out} oldest turns"
        rows.insert(first, ("", "left out", "0", what))
    room = max(tokens.context - tokens.total, 0)
    share = 100 * tokens.total / max(tokens.context, 1)
    return _Lines(
        (("#", "right"), ("whose", "left"), ("tokens", "right"), ("first words", "left")),
        tuple(rows),
        (f"in all {tokens.total} of {tokens.context} tokens ({share:.1f} %), room for {room}",),
    )


def turns_view(transcript: Transcript) -> "RenderableType":
    """All messages with their numbers for `/edit N`: 1 is the first thing the person said, 2 its answer, and so on.

    Marked are turns that are left out of the prompt, answers that were interrupted, and questions without an answer,
    which are no part of the prompt either.
    """
    if not transcript.turns:
        return _Lines((), (), ("Nothing has been said yet.",))
    rows = tuple(
        row
        for index, turn in enumerate(transcript.turns)
        for row in _turn_rows(index, turn, "[left out] " if index < transcript.left_out else "")
    )
    return _Lines((("#", "right"), ("whose", "left"), ("first words", "left")), rows)


def settings_view(settings: Settings, set_here: Collection[str] = ()) -> "RenderableType":
    """Every setting that matters in a chat, then those that somebody has changed: key, value and where that is from.

    Args:
        settings: What is in force.
        set_here: Keys that were set in this chat.
    """
    others = [each.name for each in SETTINGS if each.name not in _IN_A_CHAT]
    changed = [name for name in others if settings.origin(name) != "default" or name in set_here]
    names = (*_IN_A_CHAT, *changed)
    rows = tuple((name, _value(name, settings.chosen[name].value), _where(name, settings, set_here)) for name in names)
    return _SettingsTable(rows)


def _where(name: str, settings: Settings, set_here: Collection[str]) -> str:
    if name in set_here:
        return "/set"
    match settings.origin(name):
        case "default":
            return "built in"
        case "model":
            return "the model's own"
        case "file":
            return "config.toml"
        case _:
            return settings.place(name)


def _value(name: str, value: Value) -> str:
    """A value as a person would write it."""
    sizes = BY_NAME[name].kind in {"size", "sizes"}
    match value:
        case None:
            return "unset"
        case tuple():
            text = ", ".join(format_bytes(item) if isinstance(item, int) else item for item in value)
        case int() if sizes:
            text = format_bytes(value)
        case float():
            text = f"{value:g}"
        case _:
            text = str(value)
    return single_line(text, _VALUE_COLUMNS)


def _token_row(row: TokenRow) -> tuple[str, ...]:
    return str(row.number or ""), row.whose, str(row.tokens), _first_words(row.text)


def _turn_rows(index: int, turn: Turn, mark: str) -> Iterator[tuple[str, ...]]:
    yield str(2 * index + 1), "user", mark + _first_words(turn.user)
    stopped = "[interrupted] " if turn.interrupted else ""
    answer = _first_words(turn.assistant) if turn.assistant.strip() else "[no answer]"
    yield str(2 * index + 2), "assistant", mark + stopped + answer


def _first_words(text: str) -> str:
    """The beginning of a text on one line; the screen's edge cuts the rest."""
    words = " ".join(text[: 4 * _FIRST_WORDS].split())
    return single_line(words, _FIRST_WORDS)
