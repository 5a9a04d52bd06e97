r"""Regular expressions of JSON Schema that a grammar can follow: anchored ones of the plain kind.

Knows Python's reading of them, which the last check uses; refuses to know schemas. What a grammar writes is a subset:
characters that JSON must escape are left out of every set, and a class such as `\W` is its ASCII part.
"""

import re
import warnings
from typing import Final

from mixchat.chat.gbnf import MOST_REPEATS, Ranges, charset, either, literal, repeated

_TOP: Final = 0x10FFFF
_MOST_NESTED: Final = 50
# What a JSON string holds as it is, of the characters that UTF-8 can write; DEL and C1 are left out too.
PLAIN: Final[Ranges] = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0xA0, 0xD7FF), (0xE000, _TOP))
_ASCII: Final[Ranges] = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E))
_DIGIT: Final[Ranges] = ((0x30, 0x39),)
_WORD: Final[Ranges] = (*_DIGIT, (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Final[Ranges] = ((0x20, 0x20),)
_CLASSES: Final = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_JSON: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
_QUANTIFIER: Final = re.compile(r"[*+?]|\{(\d{1,4})(,(\d{0,4}))?\}")
_FIXED: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class NotPlain(Exception):
    """A grammar cannot follow the expression."""


def minus(ranges: Ranges, taken: Ranges) -> Ranges:
    """The characters of a set that are not in another."""
    left = list(ranges)
    for low, high in taken:
        left = [
            part
            for first, last in left
            for part in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if part[0] <= part[1]
        ]
    return tuple(left)


def common(ranges: Ranges, others: Ranges) -> Ranges:
    """The characters that are in both sets."""
    return minus(ranges, minus(((0, _TOP),), others))


def pattern_grammar(pattern: str) -> str:
    """GBNF of a JSON string's content that matches, in parentheses.

    Raises:
        NotPlain: It is not anchored on both sides, or has a part that is not plain.
    """
    if not pattern.startswith("^") or not pattern.endswith("$"):
        raise NotPlain
    reader = _Reader(pattern[1:-1])
    inside = reader.sequence(0)
    if reader.rest:  # such as `^a|b$`, which is anchored on one side only, twice
        raise NotPlain
    return f"({inside})"


def is_expression(pattern: str) -> bool:
    """Whether Python can read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError):
            return False
    return True


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self.rest = text
        self._symbols = 0

    def _take(self, count: int = 1) -> str:
        if len(self.rest) < count:
            raise NotPlain
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def sequence(self, depth: int) -> str:
        """Everything up to a bar, a closing parenthesis or the end."""
        if depth > _MOST_NESTED:
            raise NotPlain
        parts: list[str] = []
        while self.rest and self.rest[0] not in "|)":
            before = self._symbols
            atom = self._atom(depth)
            parts.append(self._quantified(atom, max(1, self._symbols - before)))
        return " ".join(parts) or '""'

    def _quantified(self, atom: str, symbols: int) -> str:
        """An atom with what follows it; llama.cpp limits the symbols in it times its repeats."""
        found = _QUANTIFIER.match(self.rest)
        if not found:
            return atom
        self._take(len(found[0]))
        if self.rest[:1] in {"?", "+", "*"} and self.rest:
            raise NotPlain
        least, most = _FIXED.get(found[0]) or _bounds(found)
        if symbols * max(least, most or 0) > MOST_REPEATS:
            raise NotPlain
        self._symbols += 1 if most is None else most - least
        return repeated(atom, least, most)

    def _atom(self, depth: int) -> str:
        sign = self._take()
        if sign == "(":
            return self._group(depth)
        if sign == "[":
            return _written(self._set())
        if sign == ".":
            return charset(PLAIN)
        if sign == "\\":
            return _written(self._escape())
        if sign in "^$*+?{":
            raise NotPlain
        return _written(_one(sign))

    def _group(self, depth: int) -> str:
        if self.rest.startswith("?"):
            if not self.rest.startswith("?:"):
                raise NotPlain
            self._take(2)
        self._symbols += 1
        options = [self.sequence(depth + 1)]
        while (sign := self._take()) == "|":
            options.append(self.sequence(depth + 1))
        assert sign == ")"  # noqa: S101 - it was checked
        return f"({either(options)})"

    def _escape(self) -> Ranges:
        sign = self._take()
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign.lower() in _CLASSES:
            return minus(_ASCII, _CLASSES[sign.lower()])
        if sign in _CONTROLS:
            return _one(_CONTROLS[sign])
        if sign in {"u", "x"}:
            return ((point := int(self._take(4 if sign == "u" else 2), 16), point),)
        if sign.isalnum():
            raise NotPlain
        return _one(sign)

    def _set(self) -> Ranges:
        inverse = self.rest.startswith("^")
        if inverse:
            self._take()
        ranges: Ranges = ()
        classes = False
        while (sign := self._take()) != "]" or not ranges:
            if sign == "[":
                raise NotPlain
            classes |= sign == "\\" and self.rest[:1].lower() in _CLASSES
            ranges += self._run(self._escape() if sign == "\\" else _one(sign))
        if not inverse:
            return ranges
        return minus(_ASCII if classes else PLAIN, ranges)

    def _run(self, start: Ranges) -> Ranges:
        """A set's part: a class, a character, or all from one to another."""
        if not re.match(r"-[^\]]", self.rest):
            return start
        self._take()
        sign = self._take()
        end = self._escape() if sign == "\\" else _one(sign)
        low, high = start[0][0], end[0][1]
        if (start, end) != (((low, low),), ((high, high),)) or high < low:
            raise NotPlain
        return ((low, high),)


def _one(sign: str) -> Ranges:
    return ((ord(sign), ord(sign)),)


def _bounds(found: "re.Match[str]") -> tuple[int, int | None]:
    least = int(found[1])
    return least, least if not found[2] else int(found[3]) if found[3] else None


def _written(ranges: Ranges) -> str:
    """A character of a set, as JSON writes it."""
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1] and (sign := chr(ranges[0][0])) in _JSON:
        return f"({literal(_JSON[sign])})"
    kept = common(tuple(sorted(ranges)), PLAIN)
    if not kept:
        raise NotPlain
    return charset(kept)
