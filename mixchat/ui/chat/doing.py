"""Which function carries out which command.

Knows the names; refuses to know what they do.
"""

from collections.abc import Callable, Mapping
from typing import Final

from mixchat.ui.chat import archive, experts, files, shows, turns
from mixchat.ui.chat.commands import Command
from mixchat.ui.chat.context import Context, Leave, Outcome

_DO: Final[Mapping[str, Callable[[Context, str], Outcome]]] = {
    "help": shows.help_,
    "system": turns.system,
    "set": shows.set_,
    "show": shows.show,
    "model": shows.model,
    "plan": shows.plan,
    "file": files.attach,
    "copy": files.copy,
    "regen": turns.regenerate,
    "continue": turns.go_on,
    "undo": turns.undo,
    "edit": turns.edit,
    "fork": turns.fork,
    "back": turns.back,
    "save": archive.save,
    "load": archive.load,
    "sessions": archive.sessions,
    "export": archive.write,
    "clear": archive.clear,
    "experts": experts.experts,
    "tokens": shows.tokens,
    "raw": shows.raw,
    "exit": lambda _context, _argument: Leave(),
}


def do(context: Context, command: Command) -> Outcome:
    """Carry out a command; what remains to be done is the result.

    Raises:
        MixchatError: It cannot be done; nothing has changed.
    """
    return _DO[command.name](context, command.argument)
