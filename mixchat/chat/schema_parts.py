"""The parts of a JSON text, in GBNF.

Knows how JSON is written; refuses to know schemas.
"""

from collections.abc import Iterable
from typing import Final

from mixchat.chat.gbnf import Rules, charset, either, literal, repeated
from mixchat.chat.pattern import PLAIN, minus, pattern_grammar

_HEX: Final = "[0-9a-fA-F]"
# Any character that UTF-8 can write, or an escape that is no half of a pair.
_ESCAPE: Final = rf'"\\" (["\\/bfnrt] | "u" ([0-9a-cefA-CEF] {_HEX}{{3}} | [dD] [0-7] {_HEX}{{2}}))'
_CHARACTER: Final = f"{charset(PLAIN)} | {_ESCAPE}"
_WHOLE: Final = '"-"? ("0" | [1-9] [0-9]{0,15})'
_SPACE: Final = '" "?'
_MOST_KEY: Final = 60
COLON: Final = f'":" {_SPACE}'
COMMA: Final = f'"," {_SPACE}'
SIMPLE: Final = {
    "integer": _WHOLE,
    "number": f'{_WHOLE} ("." [0-9]{{1,15}})? ([eE] [-+]? [0-9]{{1,2}})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
}
_MONTHS: Final = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
_LEAP: Final = "[12][0-9](0[48]|[2468][048]|[13579][26])-02-29"
_DATE: Final = f"([12][0-9]{{3}}-({_MONTHS})|{_LEAP})"
_TIME: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
FORMATS: Final = {
    "date": pattern_grammar(f"^{_DATE}$"),
    "time": pattern_grammar(f"^{_TIME}$"),
    "date-time": pattern_grammar(f"^{_DATE}T{_TIME}$"),
    "uuid": pattern_grammar(f"^{_UUID}$"),
}
"""RFC 3339 from the year 1000 to 2999, and RFC 4122."""


def type_of(value: object) -> str:
    """JSON Schema's type of a value that JSON gave; a float that is whole is an integer."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    return {float: "number", str: "string", list: "array"}.get(type(value), "object")


def text(json_text: str) -> str:
    """A value that is known."""
    return literal(json_text)


def quoted(content: str) -> str:
    """A string with that content."""
    return f"{literal(chr(34))} {content} {literal(chr(34))}"


def string(rules: Rules, least: int, most: int | None) -> str:
    """A string of so many characters."""
    return quoted(repeated(rules.add(_CHARACTER), least, most))


def member(key: str, value: str) -> str:
    """A pair with a known key, in JSON."""
    return f"{literal(key)} {COLON} {value}"


def other_key(rules: Rules, names: Iterable[str]) -> str:
    """The rule of a key that is none of these; without escapes, so that it is none of them in disguise."""
    plain = [name for name in names if all(any(low <= ord(sign) <= high for low, high in PLAIN) for sign in name)]
    return rules.add(quoted(_unlike(rules, plain, "")))


def _unlike(rules: Rules, names: list[str], begun: str) -> str:
    """The rule of what may follow the beginning of some names, so that none of them comes out."""
    place = len(begun)
    following = sorted({name[place] for name in names if len(name) > place})
    rest = repeated(rules.add(charset(PLAIN)), 0, _MOST_KEY)
    free = minus(PLAIN, tuple((ord(sign), ord(sign)) for sign in following))
    options = [f"{charset(free)} {rest}"]
    for sign in following:
        longer = [name for name in names if name.startswith(begun + sign)]
        options.append(f"{charset(((ord(sign), ord(sign)),))} {_unlike(rules, longer, begun + sign)}")
    if begun and begun not in names:
        options.append('""')
    return rules.add(either(options))


def braces(rules: Rules, members: list[tuple[str, bool]], other: str | None) -> str:
    """An object: these members in order, those that are not required or not; then any number of others."""
    comma = rules.add(COMMA)
    rest = rules.add(f"({comma} {other})*" if other else '""')
    start = rules.add(f"({other} {rest})?" if other else '""')
    for name, required in reversed(members):
        start = rules.add(f"{name} {rest}" if required else f"{name} {rest} | {start}")
        rest = rules.add(f"{comma} {name} {rest}" if required else f"({comma} {name})? {rest}")
    return f'"{{" {start} "}}"'


def brackets(rules: Rules, items: list[str], more: str | None, bounds: tuple[int, int | None]) -> str:
    """An array: these items, as many as the bounds ask for, then any number of others within the bounds."""
    least, most = bounds
    first = items or ([more] if more and most != 0 else [])
    count = len(first)
    rest = '""'
    if more and (most is None or most > count):
        another = rules.add(f"{COMMA} {more}")
        rest = repeated(another, max(0, least - count), None if most is None else most - count)
    for index in range(count - 1, -1, -1):
        this = f"{COMMA if index else ''} {first[index]} {rules.add(rest)}".strip()
        rest = this if index < least else f"({this})?"
    return f'"[" {rest} "]"'
