"""A conversation as a document that leaves mixchat: Markdown to read, JSON to compute with.

Knows both forms; refuses to know files and sessions. The JSON is exact. In the Markdown, texts are changed where they
would swallow what comes after them: HTML is escaped, an open fence closed, and a text in which it cannot be told which
fences are open is quoted, for a quotation ends everything that began in it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mixchat.chat.journal import Answered, Dialogue, Record, apply
from mixchat.chat.messages import Turn

_YOU: Final = "You"
_MODEL: Final = "Model"
_LINE_END: Final = re.compile(r"\r\n|\r")
# https://spec.commonmark.org/0.31.2/#fenced-code-blocks and #html-blocks
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HTML: Final = re.compile(r"<(?=[A-Za-z/!?])")


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a conversation beside what was said.

    Attributes:
        id: Of its session; empty when it is not kept.
        title: In a line.
        started: When it began; None: not known.
        changed: When something was said last; None: not known.
        models: Who answered each turn, see `answerers`; where it is too short, the dialogue's model did.
    """

    id: str = ""
    title: str = ""
    started: datetime | None = None
    changed: datetime | None = None
    models: tuple[str, ...] = ()


def answerers(records: Iterable[Record]) -> tuple[str, ...]:
    """The model reference that answered each turn of what the records come to."""
    dialogue = Dialogue()
    by_turn: dict[int, tuple[Turn, str]] = {}
    for record in records:
        dialogue = apply(dialogue, record)
        if isinstance(record, Answered):
            by_turn[id(record.turn)] = (record.turn, dialogue.model)
    return tuple(by_turn[id(turn)][1] for turn in dialogue.transcript.turns)


def to_object(dialogue: Dialogue, about: About) -> dict[str, object]:
    """The conversation as one JSON object.

    `messages` has the form that `mixchat ask --messages` reads: the system text and every answered turn, those that are
    no longer part of the prompt included. `turns` has every turn, with who answered, what was thought, and whether it
    was interrupted.
    """
    transcript = dialogue.transcript
    whole = replace(transcript, left_out=0, summary="")
    named = zip(transcript.turns, _models(dialogue, about), strict=True)
    return {
        "id": about.id,
        "name": dialogue.name,
        "title": about.title,
        "started": _iso(about.started),
        "changed": _iso(about.changed),
        "model": dialogue.model,
        "system": transcript.system,
        "settings": dict(dialogue.values),
        "left_out": transcript.left_out,
        "summary": transcript.summary,
        "messages": [{"role": message.role, "content": message.text} for message in whole.messages()],
        "turns": [_turn_object(turn, model) for turn, model in named],
    }


def to_markdown(dialogue: Dialogue, about: About) -> str:
    """The conversation to read: a heading for each who speaks, thinking folded, interrupted answers marked."""
    transcript = dialogue.transcript
    parts = [f"# {_inline(dialogue.name or about.title) or 'Conversation'}", *_facts(dialogue, about)]
    if transcript.system:
        parts += ["## System", _block(transcript.system)]
    for index, (turn, model) in enumerate(zip(transcript.turns, _models(dialogue, about), strict=True)):
        if transcript.summary and index == transcript.left_out:
            parts += ["## Summary", _block(transcript.summary)]
        parts += [f"## {_YOU}", _block(turn.user), *_answer(turn, model)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _models(dialogue: Dialogue, about: About) -> tuple[str, ...]:
    turns = len(dialogue.transcript.turns)
    known = about.models[:turns]
    return known + (dialogue.model,) * (turns - len(known))


def _turn_object(turn: Turn, model: str) -> dict[str, object]:
    return {
        "user": turn.user,
        "assistant": turn.assistant,
        "model": model,
        "thinking": turn.thinking,
        "interrupted": turn.interrupted,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _facts(dialogue: Dialogue, about: About) -> Iterator[str]:
    dates = [f"{name} {moment:%Y-%m-%d %H:%M %Z}".rstrip() for name, moment in _moments(about)]
    facts = [_inline(dialogue.model), about.id and f"session {about.id}", *dates]
    yield "*" + " · ".join(fact for fact in facts if fact) + "*" if any(facts) else ""


def _moments(about: About) -> Iterator[tuple[str, datetime]]:
    for name, moment in (("started", about.started), ("changed", about.changed)):
        if moment is not None:
            yield name, moment


def _answer(turn: Turn, model: str) -> Iterator[str]:
    yield f"## {_inline(model) or _MODEL}"
    if turn.thinking.strip():
        yield f"<details>\n<summary>Thinking</summary>\n\n{_block(turn.thinking)}\n\n</details>"
    yield _block(turn.assistant)
    if turn.interrupted:
        yield "*(interrupted)*" if turn.assistant.strip() else "*(interrupted before an answer)*"


def _inline(text: str) -> str:
    r"""A text within a line, every character of which Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&-])", r"\\\1", " ".join(text.split()))


def _block(text: str) -> str:
    """A text whose blocks all end with it.

    A fence that is indented may belong to a list, which any line with less indentation ends; where the two readings
    differ, the text is quoted.
    """
    lines = _LINE_END.sub("\n", text).strip("\n").split("\n")
    shown: list[str] = []
    fence = ""
    for line in lines:
        if fence and line.strip() and _indent(line) < _indent(fence):
            return _quoted(lines)
        shown.append(line if fence else _without_html(line))
        fence = _fence_after(line, fence)
    if _indent(fence):
        return _quoted(lines)
    return "\n".join([*shown, fence] if fence else shown)


def _fence_after(line: str, fence: str) -> str:
    """The line that would close the fence that is open after this line; empty when none is."""
    match = _FENCE.fullmatch(line)
    if match is None:
        return fence
    marks, rest = match.groups()
    if fence:
        return "" if marks.startswith(fence.strip()) and not rest.strip() else fence
    return "" if marks[0] == "`" and "`" in rest else " " * _indent(line) + marks


def _quoted(lines: Iterable[str]) -> str:
    return "\n".join(f"> {_without_html(line)}".rstrip() for line in lines)


def _without_html(line: str) -> str:
    return _HTML.sub(r"\\<", line)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
