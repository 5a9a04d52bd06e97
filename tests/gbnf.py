"""A second reading of GBNF, to check what grammars allow: writes texts at random, and tells whether one is allowed."""

import random
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

Node = tuple[Any, ...]
SIGN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[|()*+?]|\{\d+(?:,\d*)?\}|[\w-]+)')
ESCAPE = re.compile(r"\\U([0-9A-F]{8})|\\x([0-9A-F]{2})|\\(.)|(.)", re.DOTALL)


def rules_of(grammar: str) -> dict[str, Node]:
    lines = (line.split(" ::= ", 1) for line in grammar.rstrip("\n").split("\n"))
    return {name: _parsed(body) for name, body in lines}


def _parsed(body: str) -> Node:
    signs = SIGN.findall(body)
    assert "".join(signs).replace(" ", "") == re.sub(r' (?=(?:[^"]*"[^"]*")*[^"]*$)', "", body).replace(" ", ""), body
    node, rest = _either(signs)
    assert not rest, rest
    return node


def _either(signs: list[str]) -> tuple[Node, list[str]]:
    options: list[Node] = []
    parts: list[Node] = []
    while signs and signs[0] != ")":
        sign, *signs = signs
        if sign == "|":
            options.append(("all", parts))
            parts = []
        elif sign == "(":
            inner, signs = _either(signs)
            assert signs[0] == ")"
            signs = signs[1:]
            parts.append(inner)
        elif sign in "*+?" or sign[0] == "{":
            parts.append(("times", parts.pop(), *_bounds(sign)))
        else:
            parts.append(_atom(sign))
    return ("any", [*options, ("all", parts)]), signs


def _atom(sign: str) -> Node:
    if sign[0] not in '"[':
        return ("rule", sign)
    codes = [_code(found) for found in ESCAPE.findall(sign[1:-1])]
    if sign[0] == '"':
        return ("text", "".join(chr(code) for code, _plain in codes))
    ranges: list[tuple[int, int]] = []
    position = 0
    while position < len(codes):
        is_run = position + 2 < len(codes) and codes[position + 1] == (ord("-"), True)
        ranges.append((codes[position][0], codes[position + 2 * is_run][0]))
        position += 3 if is_run else 1
    return ("set", ranges)


def _code(found: tuple[str, str, str, str]) -> tuple[int, bool]:
    if found[0] or found[1]:
        return int(found[0] or found[1], 16), False
    return ord({"n": "\n", "r": "\r", "t": "\t"}.get(found[2], found[2]) or found[3]), bool(found[3])


def _bounds(sign: str) -> tuple[int, int | None]:
    if sign[0] != "{":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
    least, comma, most = sign[1:-1].partition(",")
    return int(least), int(most) if most else None if comma else int(least)


def written(grammar: str, chance: random.Random) -> str:
    """A text that the grammar allows, a short one."""
    rules = rules_of(grammar)
    signs: list[str] = []
    _write(rules, rules["root"], chance, signs, 0)
    return "".join(signs)


def _write(rules: dict[str, Node], node: Node, chance: random.Random, signs: list[str], depth: int) -> None:
    match node[0]:
        case "text":
            signs.append(node[1])
        case "set":
            low, high = chance.choice(node[1])
            signs.append(chr(chance.randint(low, min(high, low + 300))))
        case "rule":
            _write(rules, rules[node[1]], chance, signs, depth + 1)
        case "all":
            for part in node[1]:
                _write(rules, part, chance, signs, depth)
        case "any":
            options = node[1] if depth < 12 else sorted(node[1], key=lambda each: "rule" in str(each))[:1]
            _write(rules, chance.choice(options), chance, signs, depth)
        case "times":
            most = node[2] + 3 if node[3] is None else node[3]
            for _ in range(chance.randint(node[2], min(most, node[2] + 5)) if depth < 12 else node[2]):
                _write(rules, node[1], chance, signs, depth)


def accepts(grammar: str, text: str) -> bool:  # noqa: C901 - one case for each kind of node
    """Whether the grammar allows the whole text."""
    rules = rules_of(grammar)

    @cache
    def by_rule(name: str, start: int) -> frozenset[int]:
        return frozenset(ends(rules[name], start))

    def ends(node: Node, start: int) -> Iterator[int]:  # noqa: C901 - one case for each kind of node
        match node[0]:
            case "text":
                if text.startswith(node[1], start):
                    yield start + len(node[1])
            case "set":
                if start < len(text) and any(low <= ord(text[start]) <= high for low, high in node[1]):
                    yield start + 1
            case "rule":
                yield from by_rule(node[1], start)
            case "any":
                for option in node[1]:
                    yield from ends(option, start)
            case "all":
                here = {start}
                for part in node[1]:
                    here = {end for place in here for end in ends(part, place)}
                yield from here
            case "times":
                yield from repeats(node, start)

    def repeats(node: Node, start: int) -> Iterator[int]:
        here, seen, count = {start}, set[int](), 0
        if node[2] == 0:
            yield start
        while here and (node[3] is None or count < node[3]):
            count += 1
            here = {end for place in here for end in ends(node[1], place)} - (seen if count > node[2] else set())
            if count >= node[2]:
                seen |= here
                yield from here

    return len(text) in set(by_rule("root", 0))
