"""What a command line of the chat may go on with.

Knows the names it is given and which words look like them; refuses to know what a command does and how choices are
shown.
"""

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mixchat.ui.file_words import complete_files

_SIGN: Final = "/"
_NEAREST: Final = 3
_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to go on.

    Attributes:
        text: What takes the place of the line from `start` on.
        start: Characters of the line that stay.
        meaning: What it is, in a few words; may be empty.
    """

    text: str
    start: int
    meaning: str = ""


class Words(Protocol):
    """What Tab offers."""

    def complete(self, line: str) -> Iterable[Choice]:
        """The ways to go on with a line that ends at the cursor, best first."""


@dataclass(frozen=True, slots=True)
class CommandWords:
    """Completes commands that begin with `/`, and what follows them; offers nothing for other lines.

    Attributes:
        names: What each command does, by its name without the `/`.
        arguments: What may follow a command, asked each time; `"set"` for the first word behind `/set`, `"set keys"`
            for what follows that word.
        file_commands: The commands that take files.
    """

    names: Mapping[str, str]
    arguments: Mapping[str, Callable[[], Iterable[str]]]
    file_commands: Collection[str]

    def complete(self, line: str) -> Iterator[Choice]:
        """The choices: words that begin as typed, else those that hold it, else the nearest; then files."""
        if not line.startswith(_SIGN) or "\n" in line:
            return
        name, space, rest = line.removeprefix(_SIGN).partition(" ")
        if not space:
            yield from self._commands(name)
            return
        yield from self._arguments(name, rest, len(line))
        if name in self.file_commands:
            offset = len(line) - len(rest)
            yield from (Choice(each.text, offset + each.start, each.meaning) for each in complete_files(rest))

    def _commands(self, typed: str) -> Iterator[Choice]:
        for name in matching(typed, sorted(self.names)):
            more = name in self.file_commands or name in self.arguments
            yield Choice(f"{_SIGN}{name} " if more else f"{_SIGN}{name}", 0, self.names[name])

    def _arguments(self, name: str, rest: str, end: int) -> Iterator[Choice]:
        words = rest.split(" ")
        for count in range(len(words) - 1, -1, -1):
            offered = self.arguments.get(" ".join([name, *words[:count]]))
            if offered is not None:
                typed = " ".join(words[count:])
                found = matching(typed, list(offered()))
                yield from (Choice(each, end - len(typed)) for each in found if " " in each or " " not in typed)
                return


def matching(typed: str, words: Sequence[str]) -> Sequence[str]:
    """The words that begin as typed, whatever the case; if none does those that hold it, if none does the nearest."""
    low = typed.lower()
    found = [word for word in words if word.lower().startswith(low)] or [word for word in words if low in word.lower()]
    return (found or difflib.get_close_matches(low, words, _NEAREST))[:_MOST]
