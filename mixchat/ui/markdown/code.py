"""Highlights code line by line.

Knows where the last line left the lexer, so that a line costs what it is long and not what stands before it; refuses to
know where the code stands. Pygments' lexers want whole texts: those of its `RegexLexer` kind are stack machines, which
are driven here with a stack of our own, and what they match in one piece over several lines (comments and strings) is
found by its ends. Lexers of other kinds see each line by itself.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Final

from mixchat.ui.markdown.style import sgr

if TYPE_CHECKING:
    from pygments.lexer import Lexer, RegexLexer

Kind = tuple[str, ...]
"""A token's type: names from the general to the special, as Pygments' token types are."""

Token = tuple[Kind, str]

_Action = Kind | Callable[["RegexLexer", re.Match[str]], Iterable[tuple[int, Kind, str]]]

_LONGEST_LINE: Final = 2000
# Rules that match nothing change the state; a few lexers have a circle of such rules.
_MOST_STEPS: Final = 100
_PAIRS: Final = (("/*", "*/"), ("<!--", "-->"), ("{-", "-}"), ("(*", "*)"), ("--[[", "]]"), ("`", "`"))
# Attributes that read on light and dark backgrounds.
_STYLES: Final = {
    "Comment": "2",
    "Comment.Preproc": "35",
    "Comment.PreprocFile": "32",
    "Keyword": "35",
    "Keyword.Constant": "36",
    "Operator.Word": "35",
    "Name.Class": "1",
    "Name.Function": "1",
    "Name.Decorator": "36",
    "Name.Tag": "35",
    "Name.Attribute": "36",
    "Literal.String": "32",
    "Literal.Number": "36",
    "Generic.Heading": "1",
    "Generic.Subheading": "35",
    "Generic.Deleted": "31",
    "Generic.Inserted": "32",
}


@dataclass(frozen=True, slots=True)
class _Pair:
    """The ends of a comment or a string that may span lines."""

    opening: str
    closing: str
    kind: Kind


class Highlighter:
    """Paints the lines of one block of code.

    Args:
        name: The language, as Pygments knows it; any other is plain.
    """

    def __init__(self, name: str) -> None:
        lexer = _lexer(name.lower())
        self._driver = None if lexer is None else _driver(lexer, _pairs(lexer))

    def line(self, text: str) -> str:
        """Paint a line, which has no line end; a very long one stays plain."""
        if self._driver is None or len(text) > _LONGEST_LINE:
            return text
        tokens = ((_codes(kind), part.rstrip("\n")) for kind, part in self._driver.tokens(text + "\n"))
        return "".join(sgr("".join(part for _, part in run), codes) for codes, run in groupby(tokens, _first))


class _Single:
    """Lexes each line by itself."""

    def __init__(self, lexer: "Lexer") -> None:
        self._lexer = lexer

    def tokens(self, text: str) -> Iterable[Token]:
        return ((kind, part) for _, kind, part in self._lexer.get_tokens_unprocessed(text))


class _Driven:
    """Drives a `RegexLexer` through one line after the other, and remembers its stack of states."""

    def __init__(self, lexer: "RegexLexer", pairs: tuple[_Pair, ...]) -> None:
        self._lexer = lexer
        self._pairs = pairs
        self._stack = ["root"]
        self._inside: _Pair | None = None

    def tokens(self, text: str) -> list[Token]:
        tokens: list[Token] = []
        at = steps = 0
        while at < len(text):
            part, end = self._across(text, at) or self._step(text, at)
            steps = steps + 1 if end == at else 0
            if steps > _MOST_STEPS:
                part, end = [((), text[at])], at + 1
            tokens += part
            at = end
        return tokens

    def _across(self, text: str, at: int) -> tuple[list[Token], int] | None:
        """The part of a pair that began on a line before, or that ends on a line to come."""
        pair = self._inside
        if pair is not None:
            end = text.find(pair.closing, at)
            if end >= 0:
                self._inside = None
                return [(pair.kind, text[at : end + len(pair.closing)])], end + len(pair.closing)
        else:
            self._inside = pair = self._unclosed(text, at)
        return None if pair is None else ([(pair.kind, text[at:])], len(text))

    def _unclosed(self, text: str, at: int) -> _Pair | None:
        for pair in self._pairs:
            if text.startswith(pair.opening, at) and text.find(pair.closing, at + len(pair.opening)) < 0:
                return pair if pair.kind[0] == "Comment" or len(self._stack) == 1 else None
        return None

    def _step(self, text: str, at: int) -> tuple[list[Token], int]:
        """Apply the first rule of the state that matches."""
        for rule, action, change in self._lexer._tokens[self._stack[-1]]:  # noqa: SLF001 - its public way forgets
            if (match := rule(text, at)) is not None:
                tokens = self._found(action, match)
                if change is not None:
                    self._change(change)
                return tokens, match.end()
        if text[at] == "\n":
            self._stack = ["root"]
        return [((), text[at])], at + 1

    def _found(self, action: _Action | None, match: re.Match[str]) -> list[Token]:
        if action is None:
            return []
        if isinstance(action, tuple):
            return [(action, match[0])]
        return [(kind, part) for _, kind, part in action(self._lexer, match)]

    def _change(self, change: str | int | tuple[str, ...]) -> None:
        """Change the state as Pygments' rules say it: by names, or by the number of states to leave."""
        if isinstance(change, int):
            del self._stack[max(len(self._stack) + change, 1) :]
            return
        for name in (change,) if isinstance(change, str) else change:
            if name == "#pop":
                del self._stack[max(len(self._stack) - 1, 1) :]
            else:
                self._stack.append(self._stack[-1] if name == "#push" else name)


def _driver(lexer: "Lexer", pairs: tuple[_Pair, ...]) -> _Single | _Driven:
    from pygments.lexer import ExtendedRegexLexer, RegexLexer

    if isinstance(lexer, RegexLexer) and not isinstance(lexer, ExtendedRegexLexer):
        return _Driven(lexer, pairs)
    return _Single(lexer)


@cache
def _names() -> dict[str, str]:
    """Every alias with its lexer's name."""
    from pygments.lexers import get_all_lexers

    return {alias: name for name, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases}


@cache
def _lexer(alias: str) -> "Lexer | None":
    from pygments.lexers import find_lexer_class

    name = _names().get(alias)
    return None if name is None else find_lexer_class(name)()


@cache
def _pairs(lexer: "Lexer") -> tuple[_Pair, ...]:
    """What this language matches in one piece over several lines, found by trying."""
    tried = ((_Pair(*ends, _kind_of(lexer, f"{ends[0]}a\nb{ends[1]}\n"))) for ends in _PAIRS)
    return tuple(pair for pair in tried if pair.kind)


def _kind_of(lexer: "Lexer", text: str) -> Kind:
    """The kind of a comment or string, if line by line it would not be one; else nothing."""
    kinds = {kind for kind, part in _driver(lexer, ()).tokens(text) if part.strip()}
    driver = _driver(lexer, ())
    alone = {kind for line in text.splitlines(keepends=True) for kind, part in driver.tokens(line) if part.strip()}
    kind: Kind = kinds.pop() if len(kinds) == 1 else ()
    return kind if alone != {kind} and (kind[:1] == ("Comment",) or kind[:2] == ("Literal", "String")) else ()


@cache
def _codes(kind: Kind) -> str:
    """The attributes of the most special type that has any."""
    names = (".".join(kind[:length]) for length in range(len(kind), 0, -1))
    return next((_STYLES[name] for name in names if name in _STYLES), "")


def _first(token: tuple[str, str]) -> str:
    return token[0]
