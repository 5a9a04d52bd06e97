"""The choice that a full context asks for.

Knows how it is put and what an answer means; refuses to know how a choice is carried out.
"""

import textwrap
from collections.abc import Iterator
from typing import Final

from mixchat.app.events import Full
from mixchat.app.window import room_of
from mixchat.errors import PromptTooLong
from mixchat.store.settings import Overflow
from mixchat.ui.chat.screen import Screen
from mixchat.ui.line_input import Lines

_BY_LETTER: Final[dict[str, Overflow]] = {"d": "drop", "s": "summarise", "e": "enlarge", "c": "stop"}


def choose(full: Full, screen: Screen, lines: Lines) -> Overflow | None:
    """Ask what is to go; None: nothing is, and nothing changes.

    Raises:
        PromptTooLong: Nobody sits there who could choose.
    """
    if not screen.interactive:
        hint = "Choose for a pipe: MIXCHAT_OVERFLOW=drop, summarise or enlarge."
        raise PromptTooLong(full.tokens, full.context, hint)
    screen.reply("\n".join(choices(full, screen.width)))
    try:
        while (policy := chosen(lines.read(""), full)) is None:
            screen.tell("Type one of the letters.")
    except KeyboardInterrupt:
        return None
    return None if policy == "stop" else policy


def choices(full: Full, width: int) -> Iterator[str]:
    """The question, a line or more for each answer, and how not to be asked again."""
    turns, them = ("the oldest turn", "it") if full.turns == 1 else (f"the {full.turns} oldest turns", "them")
    yield from _wrapped(
        f"The context is full: with this message the prompt has {full.tokens} tokens, and of the {full.context} an "
        f"answer needs {full.context - room_of(full.context)}.",
        width,
        "",
    )
    answers = {
        "d": f"drop {turns} from the prompt ({full.freed} tokens); the session keeps {them}",
        "s": f"summarise {turns} first, then drop {them}",
        "e": f"enlarge the context to {full.enlarged.context}: {full.enlarged.effect}" if full.enlarged else "",
        "c": "cancel: nothing changes, your words come back",
    }
    for letter, answer in answers.items():
        if answer:
            yield from _wrapped(f"  {letter}  {answer}", width, "     ")
    yield from _wrapped(
        "Type a letter. /set overflow drop (or summarise, enlarge, stop) answers for the whole chat.", width, ""
    )


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, max(width - 1, 2 * len(indent) + 1), subsequent_indent=indent)


def chosen(line: str | None, full: Full) -> Overflow | None:
    """What a line means; the end of input is a cancel, None is no answer."""
    if line is None:
        return "stop"
    word = line.strip().lower()
    policy = next((each for letter, each in _BY_LETTER.items() if word in {letter, each}), None)
    if word in {"cancel", "n", "no"}:
        policy = "stop"
    return None if policy == "enlarge" and full.enlarged is None else policy
