"""What a person types while an answer comes.

Knows how to keep it for the next prompt: every key is read as it arrives, because a terminal that nobody reads fills up
and then does not even hear Ctrl-C, and what is left in it goes to the shell when the chat ends. A paste stays whole.
Refuses to know what the keys mean.
"""

import os
import select
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING

from mixchat.ui.interrupts import modes

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding.key_processor import KeyPress
    from prompt_toolkit.output import Output


@contextmanager
def kept(session: "PromptSession[str]") -> Iterator[None]:
    """Read keys in the background for the time of the block; the session's next prompt gets them as if typed then."""
    from prompt_toolkit.input.typeahead import store_typeahead

    keys: list[KeyPress] = []
    wake, waker = os.pipe()
    reader = threading.Thread(target=_read, args=(session, wake, keys), daemon=True)
    with _pastes_marked(session.output):
        reader.start()
        try:
            yield
        finally:
            os.close(waker)
            reader.join()
            os.close(wake)
            store_typeahead(session.input, keys)


def forget(session: "PromptSession[str]") -> None:
    """Drop what was kept."""
    from prompt_toolkit.input.typeahead import clear_typeahead

    clear_typeahead(session.input)


def _pastes_marked(output: "Output") -> AbstractContextManager[None]:
    def enter() -> None:
        with suppress(OSError):
            output.enable_bracketed_paste()
            output.flush()

    def leave() -> None:
        with suppress(OSError):
            output.disable_bracketed_paste()
            output.flush()

    return modes(enter, leave)


def _read(session: "PromptSession[str]", wake: int, keys: "list[KeyPress]") -> None:
    terminal = session.input.fileno()
    woken = False
    while not woken and not session.input.closed:
        ready, _write, _error = select.select([terminal, wake], [], [])
        woken = wake in ready
        if terminal in ready:
            keys += session.input.read_keys()
    keys += session.input.flush_keys()
