"""What a line typed in the chat means.

Knows the commands, what each takes and what it is for; refuses to know who carries them out.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mixchat.errors import UsageError
from mixchat.store.options import nearest

# A path such as /usr/bin is something to say, not a command.
_COMMAND: Final = re.compile(r"/([A-Za-z]*)(?:\s+(.*))?\s*", re.DOTALL)
_INDENT: Final = "    "
_ALIASES: Final = {"quit": "exit", "q": "exit", "bye": "exit", "h": "help", "retry": "regen", "sys": "system"}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a command takes, and what it does."""

    takes: str
    does: str


COMMANDS: Final[Mapping[str, Meaning]] = {
    "help": Meaning("", "this list"),
    "system": Meaning("[TEXT]", "show or change the system text; `none` takes it away"),
    "set": Meaning("[KEY [VALUE]]", "show or change settings; `default` takes a change back"),
    "show": Meaning("[WHAT]", "the messages, or: system settings plan prompt stats thinking"),
    "model": Meaning("[MODEL]", "show or change the model"),
    "plan": Meaning("", "where every byte of the model lies"),
    "file": Meaning("[PATH...]", "send text files with the next message; `none` takes them back"),
    "copy": Meaning("[code]", "copy the last answer, or the code in it"),
    "regen": Meaning("", "answer the last message again"),
    "continue": Meaning("", "let the last answer go on"),
    "undo": Meaning("[N]", "take back the last turn, or N of them"),
    "edit": Meaning("[N]", "edit message N and go on from there; without N: write in your editor"),
    "fork": Meaning("[NAME]", "set a checkpoint here"),
    "back": Meaning("[NAME]", "go back to the last checkpoint, or that one"),
    "save": Meaning("NAME", "give this session a name"),
    "load": Meaning("[SESSION]", "go on with another session, the last one without a name"),
    "sessions": Meaning("[WORDS]", "list the sessions, or those with these words"),
    "export": Meaning("FILE", "write this chat as Markdown (.md) or JSON (.json)"),
    "clear": Meaning("", "begin a new chat; this one stays among the sessions"),
    "experts": Meaning("[LAYERS|FILE]", "which experts the last turn passed; or write .html, .svg or .json"),
    "tokens": Meaning("", "what the context is used for"),
    "raw": Meaning("", "show answers as they are, or as Markdown again"),
    "exit": Meaning("", "leave the chat"),
}

SHOWN: Final = ("system", "settings", "plan", "prompt", "stats", "thinking")
"""What `/show` takes."""


@dataclass(frozen=True, slots=True)
class Say:
    """Something to say to the model; blank when there is nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """Something to do, and what with."""

    name: str
    argument: str = ""


def parse_line(line: str) -> Say | Command:
    """Tell what to say from what to do.

    Raises:
        UsageError: It is a command that does not exist, one with an argument that it does not take, or one without its
            own.
    """
    match = _COMMAND.fullmatch(line)
    if match is None:
        return Say(line)
    name, argument = match[1].lower(), (match[2] or "").strip()
    name = _ALIASES.get(name, name)
    if name not in COMMANDS:
        near = nearest(name, COMMANDS)
        more = "To say it to the model, begin with a space."
        raise UsageError(
            f"There is no command /{match[1]}.",
            f"Did you mean /{near}? {more}" if near else f"/help lists them. {more}",
        )
    takes = COMMANDS[name].takes
    if argument and not takes:
        raise UsageError(f"/{name} takes no argument.", f"Type /{name} alone.")
    if not argument and takes and not takes.startswith("["):
        raise UsageError(f"/{name} needs an argument.", f"Type: /{name} {takes}")
    return Command(name, argument)


def unquoted(argument: str) -> str:
    """A name without the quotation marks around it."""
    quoted = len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "'\""
    return argument[1:-1] if quoted else argument


def help_text(keys: str, width: int) -> str:
    """The commands, then what the keys do; meanings go to a line of their own where the width is short."""
    heads = {name: f"/{name} {meaning.takes}".rstrip() for name, meaning in COMMANDS.items()}
    column = max(map(len, heads.values())) + 2
    lines = []
    for name, head in heads.items():
        does = COMMANDS[name].does
        if column + len(does) < width:
            lines.append(f"{head:{column}}{does}")
        else:
            room = max(width - 1, 2 * len(_INDENT))
            lines += [head, *textwrap.wrap(does, room, initial_indent=_INDENT, subsequent_indent=_INDENT)]
    return "\n".join((*lines, "", keys))
