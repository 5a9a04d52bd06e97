"""What `mixchat sessions` shows.

Knows how a list of chats and a whole chat look; refuses to know files. Everything shown is cleaned.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

from mixchat.chat.export import About
from mixchat.chat.journal import Dialogue
from mixchat.chat.messages import Turn
from mixchat.plan.units import format_bytes
from mixchat.store.session_index import Found, SessionInfo
from mixchat.ui.by_width import NOTHING, ByWidth
from mixchat.ui.console import Style, is_terminal, paint
from mixchat.ui.output import put
from mixchat.ui.sanitize import clean, single_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - for annotations

_ID: Final = len("20261122-0455-k3f9")
_FIXED: Final = _ID + len("2026-11-22") + len("turns") + 4 * 2
_MODEL: Final = 14
_LEAST_TITLE: Final = 16


@dataclass(frozen=True, slots=True)
class SessionTable:
    """Sessions in a list; titles are cut to the width of the screen.

    Attributes:
        infos: In the order of the list.
        texts: What is shown of each; a title, or where words were found.
        heading: What these texts are.
    """

    infos: tuple[SessionInfo, ...]
    texts: tuple[str, ...]
    heading: str

    def __rich_console__(self, _console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        model = min(_MODEL, max(len(single_line(info.model)) for info in self.infos)) if self.infos else 0
        room = options.max_width - _FIXED - max(model, len("model"))
        wide = room >= _LEAST_TITLE
        rows = tuple(
            _row(info, text, room if wide else max(options.max_width - 2, 1))
            for info, text in zip(self.infos, self.texts, strict=True)
        )
        headings = ("session", "last", "turns", "model", self.heading)
        table = ByWidth(headings, rows, frozenset(headings) - {"turns"}, _below)
        yield table


def sessions_table(infos: Sequence[SessionInfo]) -> SessionTable:
    """All sessions, with their names and titles."""
    return SessionTable(tuple(infos), tuple(_title(info) for info in infos), "title")


def found_table(found: Sequence[Found]) -> SessionTable:
    """The sessions that hold some words, with the place where they do."""
    return SessionTable(tuple(each.info for each in found), tuple(each.excerpt for each in found), "found")


def damage_line(info: SessionInfo) -> str:
    """That a session is damaged, and how to see what is left."""
    return f"{info.id} is damaged; mixchat sessions show {info.id} shows what can be read."


def removal_question(infos: Sequence[SessionInfo]) -> str:
    """What is going to be removed, as a question."""
    size = format_bytes(sum(info.nbytes for info in infos))
    if len(infos) == 1:
        title = _title(infos[0])
        return f"Remove {infos[0].id} ({f'{single_line(title, 40)}, ' if title else ''}{size})?"
    return f"Remove {len(infos)} sessions ({', '.join(info.id for info in infos)}; {size})?"


def show_conversation(stream: TextIO, environ: Mapping[str, str], dialogue: Dialogue, about: About) -> None:
    """Write a whole chat to read: cleaned on a terminal, as it is elsewhere.

    Raises:
        OutputError: It could not be written.
        BrokenPipeError: The reader is gone.
    """
    put(stream, "".join(_conversation(stream, environ, dialogue, about)))


def _row(info: SessionInfo, text: str, room: int) -> tuple[str, ...]:
    model = single_line(info.model, _MODEL) or NOTHING
    return info.id, f"{info.changed:%Y-%m-%d}", str(info.turns), model, single_line(text, room) or NOTHING


def _below(row: tuple[str, ...]) -> str:
    _id, changed, turns, model, text = row
    facts = [changed, "1 turn" if turns == "1" else f"{turns} turns", *([model] if model != NOTHING else [])]
    return ", ".join(facts) + (f"\n{text}" if text != NOTHING else "")


def _title(info: SessionInfo) -> str:
    return f"{info.name}: {info.title}" if info.name and info.title else info.name or info.title


def _conversation(stream: TextIO, environ: Mapping[str, str], dialogue: Dialogue, about: About) -> Iterator[str]:
    transcript = dialogue.transcript

    def part(label: str, text: str, style: Style) -> str:
        shown, head = (clean(text), clean(label)) if is_terminal(stream) else (text, label)
        return f"{paint(head, style, stream, environ)}\n{shown.strip(chr(10))}\n\n"

    if transcript.system:
        yield part("system", transcript.system, "dim")
    for index, turn in enumerate(transcript.turns):
        if transcript.summary and index == transcript.left_out:
            yield part("summary of what is no longer in the prompt", transcript.summary, "dim")
        yield part("you", turn.user, "cyan")
        model = about.models[index] if index < len(about.models) else dialogue.model
        yield part(_heading(turn, model), turn.assistant, "bold")
    if dialogue.draft:
        yield part("you (not answered)", dialogue.draft, "cyan")


def _heading(turn: Turn, model: str) -> str:
    words = len(turn.thinking.split())
    marks = [f"after {words} word{'s'[: words != 1]} of thinking"] if words else []
    marks += ["interrupted"] if turn.interrupted else []
    name = single_line(model) or "model"
    return f"{name} ({', '.join(marks)})" if marks else name
