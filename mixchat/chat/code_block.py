"""The first fenced code block of an answer, found while the answer comes.

Knows CommonMark's fences (https://spec.commonmark.org/0.31.2/#fenced-code-blocks); refuses to know what the code is.
Other than there, a fence with a language right behind another one begins the block anew: models stutter so.
"""

import re
from typing import Final

_OPENING: Final = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)")
_CLOSING: Final = re.compile(r" {0,3}(`+|~+)[ \t]*\r?")
_MAY_CLOSE: Final = re.compile(r" {0,3}(?:`*|~*)[ \t]*\r?")


class FirstBlock:
    """Takes an answer in pieces of any size and gives back what is in its first block.

    Attributes:
        found: A block has begun.
        closed: It has ended; what follows is not looked at.
    """

    def __init__(self) -> None:
        self.found = self.closed = False
        self._line = ""
        self._fence = ""
        self._indent = 0
        self._given = 0
        self._empty = True

    def feed(self, piece: str) -> str:
        """What is certain of the block by now; its last line has its line end, its fences are no part of it."""
        code: list[str] = []
        *whole, rest = (self._line + piece).split("\n")
        self._line = ""
        for line in whole:
            if self.closed:
                return "".join(code)
            code.append(self._take(line))
        self._line = rest
        if self.found and not self.closed and not _MAY_CLOSE.fullmatch(rest) and not self._begins_anew(rest):
            code.append(self._more(rest))
        return "".join(code)

    def finish(self) -> str:
        """What was held back, when the answer ends within the block."""
        if self.closed or not self.found or self._closes(self._line) or self._begins_anew(self._line):
            return ""
        return self._more(self._line)

    def _take(self, line: str) -> str:
        """A whole line without its line end."""
        if not self.found:
            self._begin(line)
            return ""
        if self._closes(line):
            self.closed = True
            return ""
        if self._begins_anew(line):
            self._begin(line)
            return ""
        self._empty = False
        more = self._more(line) + "\n"
        self._given = 0
        return more

    def _begin(self, line: str) -> None:
        opening = _OPENING.fullmatch(line.rstrip("\r"))
        if opening and not (opening[2][0] == "`" and "`" in opening[3]):
            self.found, self._indent, self._fence = True, len(opening[1]), opening[2]

    def _begins_anew(self, line: str) -> bool:
        opening = _OPENING.fullmatch(line)
        return self._empty and opening is not None and bool(opening[3].strip()) and "`" not in opening[3]

    def _closes(self, line: str) -> bool:
        closing = _CLOSING.fullmatch(line)
        return closing is not None and closing[1].startswith(self._fence)

    def _more(self, line: str) -> str:
        """What was not given yet of a line, which loses the indentation that the fence has."""
        blanks = len(line) - len(line.lstrip(" "))
        begin = max(min(blanks, self._indent), self._given)
        self._given = len(line)
        return line[begin:]
