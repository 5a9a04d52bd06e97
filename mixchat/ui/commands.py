"""What a line typed in the chat means.

Knows the commands; refuses to know who carries them out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mixchat.errors import UsageError
from mixchat.store.options import nearest

CommandName = Literal["help", "exit"]

_MEANING: Mapping[CommandName, str] = {"help": "this list", "exit": "leave the chat"}
# A path such as /usr/bin is something to say, not a command.
_COMMAND: Final = re.compile(r"/([A-Za-z]+)\s*")
_WITH_ARGUMENT: Final = re.compile(r"/([A-Za-z]+)\s.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Say:
    """Something to say to the model; blank when there is nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """Something to do."""

    name: CommandName


def parse_line(line: str) -> Say | Command:
    """Tell what to say from what to do.

    Raises:
        UsageError: It is a command that does not exist, or one with an argument that it does not take.
    """
    names: tuple[CommandName, ...] = get_args(CommandName)
    match = _COMMAND.fullmatch(line)
    if match is None:
        known = _WITH_ARGUMENT.fullmatch(line)
        if known is not None and known[1] in names:
            raise UsageError(f"/{known[1]} takes no argument.", f"Type /{known[1]} alone.")
        return Say(line)
    for name in names:
        if match[1] == name:
            return Command(name)
    near = nearest(match[1], names)
    raise UsageError(f"There is no command /{match[1]}.", f"Did you mean /{near}?" if near else "/help lists them.")


def help_text(keys: str) -> str:
    """The commands, then what the keys do."""
    commands = "\n".join(f"/{name:<6} {meaning}" for name, meaning in _MEANING.items())
    return f"{commands}\n{keys}"
