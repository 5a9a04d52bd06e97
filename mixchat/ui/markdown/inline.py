"""Emphasis, code, links and the like inside a paragraph, while it streams.

Knows when a mark is closed, and when it can no longer be; refuses to know lines and blocks. The rules are CommonMark's
(https://spec.commonmark.org/0.31.2/#inlines): delimiter runs are matched from a stack, code spans bind tightest. One is
ours: a mark that is not closed within `REACH` characters is text, so that nothing waits for long.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mixchat.ui.markdown.spans import (
    LONGEST_ENTITY,
    PUNCTUATION,
    code_pieces,
    decoded,
    flanks,
    is_tag,
    link_pieces,
)
from mixchat.ui.markdown.style import BOLD, ITALIC, PLAIN, STRIKE, Piece

REACH: Final = 600
"""Characters of the source between a mark and its end."""

_LONGEST_TARGET: Final = 2000
_BRACKETS: Final = ("[", "![")
_STRONG: Final = 2

_Mode = Callable[[str], None]


@dataclass(slots=True)
class _Open:
    """A mark that is not closed yet: a bracket, or what is left of a run of `length` equal characters."""

    mark: str
    count: int
    length: int
    both: bool
    position: int
    pieces: list[Piece] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.mark * self.count


class Inline:
    """Takes characters, and passes styled text on as soon as its style is certain.

    Args:
        sink: Takes texts with their styles.
        keep_marks: Leave the marks in the text; for terminals without styles.
    """

    def __init__(self, sink: Callable[[str, int], None], keep_marks: bool) -> None:
        self._sink = sink
        self._keep_marks = keep_marks
        self._open: list[_Open] = []
        self._mode: _Mode = self._text
        self._modes: dict[str, _Mode] = dict.fromkeys("*_~", self._run)
        self._modes |= {"`": self._opening_ticks, "\\": self._escape, "!": self._bang}
        self._modes |= {"&": self._entity, "<": self._angle}
        self._raw = ""
        self._ticks = 0
        self._tail = 0
        self._depth = 0
        self._quote = ""
        self._before = ""
        self._position = 0

    def feed(self, char: str) -> None:
        """Take a character; LF is a line end that stays one."""
        self._position += 1
        if self._open and self._position - self._open[0].position > REACH and self._mode != self._target:
            self._give_up(0)
        self._mode(char)

    def end(self) -> None:
        """The paragraph is complete: what is still open is text."""
        while self._mode != self._text:
            self._mode("")
        while self._open:
            self._give_up(0)

    def _text(self, char: str) -> None:
        """Between constructs. The empty string is the end, here and in every mode."""
        if (mode := self._modes.get(char)) is not None:
            self._mode, self._raw = mode, char
        elif char == "[":
            self._open_bracket(char)
        elif char == "]" and self._bracket() is not None:
            self._mode, self._raw = self._closed_bracket, char
        elif char:
            self._put([(char, PLAIN)])
            self._before = char

    def _leave(self, pieces: list[Piece], before: str, char: str) -> None:
        """End the mode with what it found, and read on at `char`."""
        self._mode, self._raw = self._text, ""
        self._put(pieces)
        self._before = before
        self._mode(char)

    def _fail(self, literal: str, char: str) -> None:
        """End the mode: the first characters are text, the others are read again, and then `char`."""
        again = self._raw[len(literal) :] + char
        self._leave([(literal, PLAIN)], literal[-1], "")
        for each in again:
            self._mode(each)

    # Delimiter runs

    def _run(self, char: str) -> None:
        if char and char == self._raw[0]:
            self._raw += char
            return
        mark, length = self._raw[0], len(self._raw)
        is_text = mark == "~" and length != _STRONG
        opens, closes = (False, False) if is_text else flanks(mark, self._before, char)
        left = self._close_marks(mark, length, both=opens) if closes else length
        if opens and left > 0:
            self._open.append(_Open(mark, left, length, closes, self._position))
            left = 0
        self._leave([(mark * left, PLAIN)] if left else [], mark, char)

    def _close_marks(self, mark: str, length: int, *, both: bool) -> int:
        """Close what a run closes; how many of its characters are left."""
        left = length
        while left > 0 and (index := self._opener(mark, length, both=both)) is not None:
            opener = self._open[index]
            used = min(left, opener.count, _STRONG)
            self._close(index, used)
            left -= used
        return left

    def _opener(self, mark: str, length: int, *, both: bool) -> int | None:
        for index in reversed(range(len(self._open))):
            opener = self._open[index]
            odd = (opener.length + length) % 3 == 0 and length % 3
            if opener.mark == mark and not (odd and (both or opener.both)):
                return index
        return None

    def _close(self, index: int, used: int) -> None:
        while len(self._open) > index + 1:
            self._give_up(index + 1)
        opener = self._open[index]
        style = STRIKE if opener.mark == "~" else BOLD if used == _STRONG else ITALIC
        opener.pieces = self._styled(opener.pieces, style, opener.mark * used)
        opener.count -= used
        if not opener.count:
            self._open.pop()
            self._put(opener.pieces)

    def _styled(self, pieces: list[Piece], style: int, mark: str) -> list[Piece]:
        if self._keep_marks:
            return [(mark, PLAIN), *pieces, (mark, PLAIN)]
        return [(text, old | style) for text, old in pieces]

    def _give_up(self, index: int) -> None:
        """An open mark is text after all."""
        opener = self._open.pop(index)
        pieces = [(opener.text, PLAIN), *opener.pieces]
        if index:
            self._open[index - 1].pieces += pieces
        else:
            self._emit(pieces)

    # Code spans

    def _opening_ticks(self, char: str) -> None:
        if char == "`":
            self._raw += char
            return
        self._ticks, self._tail = len(self._raw), 0
        self._mode = self._code
        self._mode(char)

    def _code(self, char: str) -> None:
        if char == "`":
            self._tail += 1
        elif self._tail == self._ticks:
            self._leave(code_pieces(self._raw, self._ticks, self._keep_marks), "`", char)
            return
        else:
            self._tail = 0
        if not char or len(self._raw) > REACH:
            self._fail("`" * self._ticks, char)
        else:
            self._raw += char

    # Links and images

    def _bang(self, char: str) -> None:
        if char == "[":
            self._leave([], "!", "")
            self._open_bracket("![")
        else:
            self._leave([("!", PLAIN)], "!", char)

    def _open_bracket(self, mark: str) -> None:
        self._open.append(_Open(mark, 1, 1, both=False, position=self._position))
        self._before = "["

    def _bracket(self) -> int | None:
        return next((i for i in reversed(range(len(self._open))) if self._open[i].mark in _BRACKETS), None)

    def _closed_bracket(self, char: str) -> None:
        if char == "(":
            self._mode, self._raw = self._target, "]("
            self._depth, self._quote = 0, ""
        else:
            self._forget_bracket()
            self._leave([("]", PLAIN)], "]", char)

    def _forget_bracket(self) -> None:
        """The last open bracket is text, if it was not already out of reach."""
        if (index := self._bracket()) is not None:
            self._give_up(index)

    def _target(self, char: str) -> None:
        """Between the parentheses of a link."""
        if char == ")" and not self._depth and not self._quote and not self._raw.endswith("\\"):
            self._link(self._raw[2:])
        elif char in {"", "\n", "["} or len(self._raw) > _LONGEST_TARGET or self._is_prose(char):
            self._forget_bracket()
            self._fail("]", char)
        else:
            self._nest(char)
            self._raw += char

    def _is_prose(self, char: str) -> bool:
        """Whether a word follows where only a link's title could."""
        if self._quote or not self._raw.endswith(" ") or char in " \"')":
            return False
        return self._raw[2] != "<" and self._raw.rstrip(" ") != "]("

    def _nest(self, char: str) -> None:
        if self._quote:
            self._quote = "" if char == self._quote else self._quote
        elif char in "\"'" and self._raw.endswith(" "):
            self._quote = char
        elif not self._raw.endswith("\\"):
            self._depth += (char == "(") - (char == ")")

    def _link(self, target: str) -> None:
        index = self._bracket()
        while index is not None and len(self._open) > index + 1:
            self._give_up(index + 1)
        pieces = None if index is None else link_pieces(self._open[index].pieces, target)
        if pieces is None:
            self._forget_bracket()
            self._fail("]", ")")
        else:
            self._open.pop()
            self._leave(pieces, ")", "")

    # Escapes, entities, angle brackets

    def _escape(self, char: str) -> None:
        if char in PUNCTUATION or char == "\n":
            self._leave([(char, PLAIN)], char, "")
        else:
            self._leave([("\\", PLAIN)], "\\", char)

    def _entity(self, char: str) -> None:
        if char == ";":
            self._raw += char
            shown = decoded(self._raw)
            self._leave([(shown, PLAIN)], shown[-1], "")
        elif len(self._raw) < LONGEST_ENTITY and char.isascii() and (char.isalnum() or char == "#"):
            self._raw += char
        else:
            self._leave([(self._raw, PLAIN)], self._raw[-1], char)

    def _angle(self, char: str) -> None:
        """A tag or an address in angle brackets is shown as it is."""
        if char == ">" and is_tag(self._raw + char):
            self._leave([(self._raw + char, PLAIN)], char, "")
        elif not char or char in " \t\n<>`*" or len(self._raw) > REACH:
            self._fail("<", char)
        else:
            self._raw += char

    def _put(self, pieces: list[Piece]) -> None:
        if self._open:
            self._open[-1].pieces += pieces
        else:
            self._emit(pieces)

    def _emit(self, pieces: list[Piece]) -> None:
        for text, style in pieces:
            self._sink(text, style)
