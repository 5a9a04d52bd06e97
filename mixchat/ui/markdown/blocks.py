"""What a line of Markdown is, told from as few of its characters as possible.

Knows the block structure of CommonMark and GitHub's tables (https://github.github.com/gfm/); refuses to know what is
printed. Setext headings, HTML blocks and link reference definitions are text. Two liberties, because models indent
carelessly: a list marker two columns right of an item's own is inside that item, and code in a list item ends with its
fence, not with its indentation (that part is in `document`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

_RULE = re.compile(r"([-*_])(?: *\1)* *")
_MARKER = re.compile(r"([-+*]|[0-9]{1,9}[.)])( +|$)")
_MARKER_BEGUN = re.compile(r"[-+*]|[0-9]{1,9}[.)]?")
_HEADING = re.compile(r"(#{1,6})(?: +|$)")
_DELIMITER = re.compile(r"\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *")
_DELIMITER_CHARS: Final = frozenset("-:| ")
_INDENTED: Final = 4
_SHORTEST_MARK: Final = 3

Kind = Literal["blank", "text", "heading", "fence", "rule", "underline", "indented", "row", "delimiter"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A quote (no label) or a list item; columns are counted from the end of the last quote mark.

    Attributes:
        label: The list marker.
        marker: The column of the marker.
        content: The column of the item's text.
    """

    label: str = ""
    marker: int = 0
    content: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What is open before the line.

    Attributes:
        containers: Quotes and list items, outermost first.
        paragraph: Whether a paragraph is open.
        piped: Whether its last line may head a table.
    """

    containers: tuple[Opening, ...]
    paragraph: bool
    piped: bool


@dataclass(frozen=True, slots=True)
class Undecided:
    """More of the line is needed: one character that is not in `stay`; None: all of it."""

    stay: str | None = ""


@dataclass(frozen=True, slots=True)
class Start:
    """What the line is.

    Attributes:
        kind: Of its leaf.
        rest: Its text, as far as it is known.
        kept: How many containers go on.
        opened: The containers that begin.
        level: Of a heading.
        indent: The column where a fence begins, counted as in `Opening`.
    """

    kind: Kind
    rest: str
    kept: int
    opened: tuple[Opening, ...] = ()
    level: int = 0
    indent: int = 0


def is_delimiter(line: str) -> bool:
    """Whether this is the line below a table's head."""
    return _DELIMITER.fullmatch(line) is not None


def without_quotes(line: str, containers: Sequence[Opening]) -> str | None:
    """The line after the marks of its quotes; None when one is missing."""
    for container in containers:
        if not container.label:
            stripped = line.lstrip(" ")
            if not stripped.startswith(">"):
                return None
            line = stripped[1:].removeprefix(" ")
    return line


def read_line(line: str, context: Context) -> Start:
    """Tell what a complete line is; without tabs before its text."""
    found = _Reader(line, context, ended=True).read()
    return found if isinstance(found, Start) else Start("text", line, 0)


def read_beginning(line: str, context: Context) -> Start | Undecided:
    """Tell what a line is by its beginning, as soon as possible."""
    return _Reader(line, context, ended=False).read()


class _Reader:
    def __init__(self, line: str, context: Context, *, ended: bool) -> None:
        self._line = line
        self._ended = ended
        self._context = context
        self._at = 0
        self._base = 0
        self._floor = 0
        self._kept = 0
        self._opened: list[Opening] = []

    def read(self) -> Start | Undecided:
        for container in self._context.containers:
            matched = self._goes_on(container)
            if isinstance(matched, Undecided):
                return matched
            if not matched:
                break
            self._kept += 1
        while True:
            found = self._next()
            if found is not None:
                return found

    @property
    def _first(self) -> int:
        """Where the text begins; the line's length when it is blank."""
        return len(self._line) - len(self._line[self._at :].lstrip(" "))

    def _goes_on(self, container: Opening) -> bool | Undecided:
        first = self._first
        if first == len(self._line):
            return bool(container.label) if self._ended else Undecided(" ")
        if not container.label:
            return self._quote_goes_on(first)
        column = first - self._base
        if column >= container.content:
            self._floor = self._base + container.content
            return True
        if column < container.marker + 2:
            return False
        rest = self._line[first:]
        if not self._ended and _MARKER_BEGUN.fullmatch(rest):
            return Undecided()
        self._floor = first
        return _MARKER.match(rest) is not None

    def _quote_goes_on(self, first: int) -> bool | Undecided:
        if first - self._floor >= _INDENTED or self._line[first] != ">":
            return False
        return self._pass_quote_mark(first) or True

    def _pass_quote_mark(self, first: int) -> Undecided | None:
        """Go behind a quote's mark and the blank after it."""
        if first + 1 == len(self._line) and not self._ended:
            return Undecided()
        self._at = first + (2 if self._line[first + 1 : first + 2] == " " else 1)
        self._base = self._floor = self._at
        return None

    def _next(self) -> Start | Undecided | None:
        """Open a container (None), or tell what the leaf is."""
        first = self._first
        rest = self._line[first:]
        if not rest:
            return self._start("blank", "") if self._ended else Undecided(" ")
        continues = self._context.paragraph and not self._opened
        if first - self._floor >= _INDENTED:
            return self._text(rest) if continues else self._start("indented", self._line[self._floor :])
        direct = continues and self._kept == len(self._context.containers)
        for look in (self._delimiter, self._rule):
            if (found := look(rest, direct)) is not None:
                return found
        if rest[0] == ">":
            self._opened.append(Opening())
            return self._pass_quote_mark(first)
        item = self._item(rest, direct)
        if isinstance(item, Undecided):
            return item
        return None if item else self._leaf(rest, direct)

    def _delimiter(self, rest: str, direct: bool) -> Start | Undecided | None:
        """What may be the line below a table's head, when that head may be one."""
        if not direct or not self._context.piped or not _DELIMITER_CHARS.issuperset(rest):
            return None
        if not self._ended:
            return Undecided("-:| ")
        return self._start("delimiter", rest) if "|" in rest and is_delimiter(rest) else None

    def _rule(self, rest: str, _direct: bool) -> Start | Undecided | None:
        if not _RULE.fullmatch(rest):
            return None
        if not self._ended:
            return Undecided(rest[0] + " ")
        return self._start("rule", rest) if rest.count(rest[0]) >= _SHORTEST_MARK else None

    def _item(self, rest: str, direct: bool) -> bool | Undecided:
        """Open a list item. Only one that has text, and number 1 if any, may interrupt a paragraph."""
        found = _MARKER.match(rest)
        if found is None or (not found[2] and not self._ended):
            return Undecided() if not self._ended and _MARKER_BEGUN.fullmatch(rest) else False
        label, blanks = found[1], len(found[2])
        empty = found.end() == len(rest)
        if empty and not self._ended:
            return Undecided(" ")
        if direct and (empty or (label[:-1].isdecimal() and int(label[:-1]) != 1)):
            return False
        width = len(label) + (1 if empty or blanks > _INDENTED else blanks)
        marker = self._first - self._base
        self._opened.append(Opening(label, marker, marker + width))
        self._at = self._first + len(label)
        self._floor = self._base + marker + width
        return True

    def _leaf(self, rest: str, direct: bool) -> Start | Undecided:
        char = rest[0]
        if char == "#":
            return self._heading(rest)
        if char in "`~":
            return self._fence(rest)
        if char == "|":
            return self._start("row", rest) if self._ended else Undecided(None)
        if char == "=" and direct and not rest.rstrip(" ").strip("="):
            return self._start("underline", rest) if self._ended else Undecided("= ")
        return self._text(rest)

    def _heading(self, rest: str) -> Start | Undecided:
        if not self._ended and not rest.strip("#"):
            return Undecided()
        found = _HEADING.match(rest)
        if found is None:
            return self._text(rest)
        return self._start("heading", rest[found.end() :], level=len(found[1]))

    def _fence(self, rest: str) -> Start | Undecided:
        info = rest.lstrip(rest[0])
        length = len(rest) - len(info)
        if not self._ended and (length >= _SHORTEST_MARK or not info):
            return Undecided(None if length >= _SHORTEST_MARK else "")
        if length < _SHORTEST_MARK or (rest[0] == "`" and "`" in info):
            return self._text(rest)
        return self._start("fence", rest)

    def _text(self, rest: str) -> Start:
        """A paragraph's line; it may go on lazily, without its containers' marks."""
        if self._context.paragraph and not self._opened:
            self._kept = len(self._context.containers)
        return self._start("text", rest)

    def _start(self, kind: Kind, rest: str, level: int = 0) -> Start:
        return Start(kind, rest, self._kept, tuple(self._opened), level, self._first - self._base)
