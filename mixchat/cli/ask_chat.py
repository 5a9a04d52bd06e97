"""`mixchat ask -i`: one answer, and then a chat on the terminal.

Knows that the pipe is used up by then, so that the terminal is opened anew; refuses to know how a chat is held.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixchat.app.conversing import Conversation
from mixchat.app.shelf import Shelf
from mixchat.cli.ask_options import AskOptions
from mixchat.cli.ask_output import has_begun, write_answer
from mixchat.cli.chat import hold
from mixchat.cli.stopping import stoppable
from mixchat.errors import UsageError
from mixchat.ui.console import Terminal, write_line
from mixchat.ui.progress import shown
from mixchat.ui.sanitize import single_line

if TYPE_CHECKING:
    from mixchat.store.personas import Persona
    from mixchat.store.settings import Overflow


@dataclass(frozen=True, slots=True)
class Going:
    """What a chat is gone on with: the sessions, where it is shown, and the persona that it has."""

    shelf: Shelf
    terminal: Terminal
    persona: "Persona | None"


@contextmanager
def open_terminal(*, quiet: bool) -> Iterator[Terminal]:
    """The terminal that the command was started on, wherever its streams go.

    Raises:
        UsageError: There is none.
    """
    try:
        with open("/dev/tty", encoding="utf-8") as tty_in, open("/dev/tty", "w", encoding="utf-8") as tty_out:  # noqa: PTH123
            yield Terminal(tty_in, tty_out, tty_out, os.environ, quiet)
    except OSError as exc:
        raise UsageError("--interactive needs a terminal, and there is none.", "Leave it out in a script.") from exc


def answer_and_chat(talk: Conversation, text: str, asked: AskOptions, going: Going) -> int:
    """Answer on stdout, then hold the chat.

    Args:
        talk: Its model is not loaded yet.
        text: What is said first.
        asked: In what form the answer leaves.
        going: What the chat is held with.
    """
    policy: Overflow = "drop" if asked.overflow == "drop" else "stop"
    quiet, environ = going.terminal.quiet, going.terminal.environ
    for notice in talk.told:
        if not quiet:
            write_line(sys.stderr, single_line(notice.text))
    engine = going.shelf.house.engine
    with stoppable(engine.interrupt, has_begun) as stop, closing(talk.say(text, overflow=policy)) as said:
        write_answer(shown(stop.watched(said), talk.dialogue.model, sys.stderr, environ, quiet), asked, quiet=quiet)
    return hold(talk, going.shelf, going.persona, going.terminal)
