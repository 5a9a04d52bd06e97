"""Characters to words.

Knows where a line may be broken: at blanks, and beside wide characters; refuses to know where lines end.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mixchat.ui.markdown.style import CODE, Piece
from mixchat.ui.sanitize import columns

_FIRST_WIDE: Final = "\u1100"
# By general category, East Asian line breaking in short: what does not begin a line, and what does not end one.
_STICKS_TO_THE_LAST: Final = frozenset({"Pe", "Pf", "Po", "Lm", "Sk", "Cf", "Mn", "Mc", "Me"})
_STICKS_TO_THE_NEXT: Final = frozenset({"Ps", "Pi", "Cf"})


@dataclass(frozen=True, slots=True)
class Word:
    """What stays together on a line.

    Attributes:
        pieces: Its text.
        columns: Its width.
        gap: The blanks before it, or a line end; empty where a line may be broken without a blank.
        fixed: It goes on with the word before it, which was wider than a line.
    """

    pieces: list[Piece]
    columns: int
    gap: str
    fixed: bool = False


class Words:
    """Splits styled text into words, and passes each on when it ends.

    Args:
        sink: Takes the words.
        room: The columns of a line. A word that does not fit is passed on in parts, because no line waits for its end.
    """

    def __init__(self, sink: Callable[[Word], None], room: Callable[[], int]) -> None:
        self._sink = sink
        self._room = room
        self._pieces: list[Piece] = []
        self._columns = 0
        self._gap = ""
        self._last = ""
        self._limit: int | None = None
        self._overlong = False

    def feed(self, text: str, style: int) -> None:
        """Take a text; a line end in it breaks the line."""
        for char in text:
            if char in " \t\n":
                self.end()
                self._widen_gap(char, style)
            else:
                self._add(char, style)

    def end(self) -> None:
        """The word is complete."""
        if self._pieces:
            self._pass_on()
        self._overlong = False
        self._limit = None
        self._last = ""

    def _widen_gap(self, char: str, style: int) -> None:
        if char == "\n" or self._gap == "\n":
            self._gap = "\n"
        elif style & CODE:
            self._gap += " "
        else:
            self._gap = " "

    def _add(self, char: str, style: int) -> None:
        wide = char >= _FIRST_WIDE and columns(char) > 1
        if self._breaks_before(char, wide=wide):
            self.end()
        self._last = char
        self._columns += 2 if wide else 1
        if self._pieces and self._pieces[-1][1] == style:
            self._pieces[-1] = (self._pieces[-1][0] + char, style)
        else:
            self._pieces.append((char, style))
        if self._overlong or self._columns > self._width():
            self._pass_on()
            self._overlong = True

    def _breaks_before(self, char: str, *, wide: bool) -> bool:
        """Whether a line may be broken before it: beside a wide character, and not where punctuation forbids it."""
        if not self._last or not (wide or (self._last >= _FIRST_WIDE and columns(self._last) > 1)):
            return False
        before, after = unicodedata.category(self._last), unicodedata.category(char)
        return before not in _STICKS_TO_THE_NEXT and after not in _STICKS_TO_THE_LAST

    def _width(self) -> int:
        if self._limit is None:
            self._limit = self._room()
        return self._limit

    def _pass_on(self) -> None:
        self._sink(Word(self._pieces, self._columns, self._gap, self._overlong))
        self._pieces, self._columns, self._gap = [], 0, ""
