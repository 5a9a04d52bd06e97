"""GBNF, the language of llama.cpp's grammars.

Knows how its rules are written; refuses to know what they describe.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from mixchat.errors import UsageError

MOST_REPEATS: Final = 2000
"""llama.cpp repeats nothing more often than that (MAX_REPETITION_THRESHOLD in llama-grammar.cpp)."""
_MOST_RULES: Final = 20_000
_SPECIAL: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}

Ranges = tuple[tuple[int, int], ...]
"""A set of characters: first and last code point of each run, in order."""


def literal(text: str) -> str:
    """A text that must stand there as it is."""
    signs = (_SPECIAL.get(sign) or (f"\\x{ord(sign):02X}" if ord(sign) < ord(" ") else sign) for sign in text)
    return f'"{"".join(signs)}"'


def charset(ranges: Ranges) -> str:
    """One character of a set."""
    runs = (_code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in ranges)
    return f"[{''.join(runs)}]"


def _code(point: int) -> str:
    sign = chr(point)
    return sign if re.fullmatch("[0-9A-Za-z]", sign) else f"\\U{point:08X}"


def either(options: Iterable[str]) -> str:
    """One of these; they are parts that need no parentheses, or sequences of such."""
    return " | ".join(dict.fromkeys(options))


def repeated(part: str, least: int, most: int | None) -> str:
    """A part that stands there so many times; it is a rule's name, a set or in parentheses."""
    if (least, most) == (1, 1):
        return part
    if most == 0:
        return '""'
    short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most))
    return part + (short or f"{{{least},{'' if most is None else most}}}")


class Rules:
    """Rules that are being collected; equal ones are there once."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._count = 0

    def reserve(self) -> str:
        """A name for a rule that comes later.

        Raises:
            UsageError: There are too many.
        """
        self._count += 1
        if self._count > _MOST_RULES:
            raise UsageError(f"The schema needs more than {_MOST_RULES} rules of a grammar.", "Use a smaller schema.")
        return f"r{self._count}"

    def define(self, name: str, body: str) -> str:
        """Give a reserved name its body; returns the name."""
        self._bodies[name] = body
        self._names.setdefault(body, name)
        return name

    def add(self, body: str) -> str:
        """The name of a rule with that body."""
        return self._names.get(body) or self.define(self.reserve(), body)

    def text(self, root: str) -> str:
        """The whole grammar; it begins with the rule named `root` here."""
        lines = [f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._bodies.items())]
        return "\n".join(lines) + "\n"


def choices_grammar(choices: Sequence[str]) -> str:
    """GBNF of one of these texts.

    Raises:
        UsageError: There is none, one is empty or holds a NUL character, or one comes twice.
    """
    hint = "Separate them by commas: --choices yes,no,unsure"
    if not choices or not all(choices):
        raise UsageError("An empty choice cannot be given as an answer.", hint)
    if any("\0" in choice for choice in choices):
        raise UsageError("A choice holds a NUL character.", hint)
    if len(set(choices)) < len(choices):
        raise UsageError("A choice is given twice.", hint)
    return f"root ::= {either(map(literal, choices))}\n"
