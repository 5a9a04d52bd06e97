"""A chat with a scripted engine, for a terminal; run by test_chat_terminal.py."""

import os
import signal
import sys
from types import FrameType

from mixchat.app.shelf import Shelf
from mixchat.engine.events import Loading, Prefilling
from mixchat.errors import MixchatError
from mixchat.ui.chat.context import Chat
from mixchat.ui.chat.prompting import words_for
from mixchat.ui.chat.repl import run_chat
from mixchat.ui.chat.screen import Screen
from mixchat.ui.console import Terminal
from mixchat.ui.errors import show_error
from mixchat.ui.line_input import InputOptions, line_source
from tests.fakes.plans import opened
from tests.fakes.talk import CRASHED, EMPTY_HOUSE, NOWHERE, Script, ScriptedTalk, words

LONG = words(" ".join(f"w{number}" for number in range(400)))
SCRIPTS: dict[str, list[Script]] = {
    "plain": [words("Hello there, \x1b[2J\x1b]0;evil\x07 [/INST] friend."), words("Second answer.")],
    "long": [LONG, words("Still here.")],
    "crash": [(*LONG[:3], CRASHED), words("Back again.")],
    "prefill": [(*(Prefilling(done, 4000) for done in range(0, 4001, 100)), *words("Read it all."))],
}


def terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def main() -> int:
    """Chat as the environment says."""
    signal.signal(signal.SIGTERM, terminate)
    name, pause = os.environ["SCRIPT"], float(os.environ.get("PAUSE", "0.02"))
    loading = [Loading(part / 40) for part in range(41)] if os.environ.get("SLOW") else []
    talk = ScriptedTalk(
        *SCRIPTS[name],
        opening=(*loading, opened()),
        pause=pause,
        deaf=bool(os.environ.get("DEAF")),
        output=os.environ.get("OUTPUT", "raw"),
    )
    terminal = Terminal(sys.stdin, sys.stdout, sys.stderr, os.environ)
    try:
        shelf = Shelf(EMPTY_HOUSE, saving=False)
        lines = line_source(terminal, InputOptions(words_for(talk, shelf)))
        return run_chat(Chat(talk, Screen(terminal), lines, shelf, NOWHERE))
    except MixchatError as error:
        show_error(error, sys.stderr, os.environ)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
