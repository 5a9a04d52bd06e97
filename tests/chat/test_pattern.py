"""Regular expressions that a grammar can follow."""

import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.pattern import NotPlain, is_expression, pattern_grammar
from tests.gbnf import accepts, written


def grammar_of(pattern: str) -> str:
    return 'root ::= "\\"" ' + pattern_grammar(pattern) + ' "\\""\n'


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^$", [""], ["a"]),
        ("^a{1}b{0}$", ["a"], ["ab"]),
        ("^[A-Z]{2}\\d{3}$", ["AB123"], ["AB12", "ab123"]),
        ("^(a|b|)c?$", ["ac", "b", "c", ""], ["ab"]),
        ("^(?:foo|bar)+$", ["foobar"], [""]),
        ("^a{2,}b{0,3}$", ["aa", "aaabbb"], ["a"]),
        ("^.*$", ["hello world", "é€"], []),
        ('^[^a"]+$', ["bcd"], ["a"]),
        ("^[]x-]$", ["]", "x", "-"], ["a"]),
        ("^[^\\d]$", ["x", "-"], ["3"]),
        ("^\\w+\\W\\s$", ["ab- "], ["ab--"]),
        ("^\\u0041\\x42\\.\\-$", ["AB.-"], ["AB.."]),
        ('^"\\\\\\n\\/$', ['"\\\n/'], ["n"]),
        ("^[\\t ]$", [" "], ["a"]),
        ("^[\\x41-\\x43]$", ["B"], ["D"]),
        ("^[\\w.-]+$", ["a.b-c"], ["a b"]),
    ],
)
def test_plain_expressions(pattern: str, good: list[str], bad: list[str]) -> None:
    grammar = grammar_of(pattern)
    for text in good:
        assert re.search(pattern, text), "the premise"
        assert accepts(grammar, json.dumps(text, ensure_ascii=False)), text
    for text in bad:
        assert not accepts(grammar, json.dumps(text, ensure_ascii=False)), text
    for seed in range(20):
        assert re.search(pattern, json.loads(written(grammar, random.Random(seed))))


@pytest.mark.parametrize(
    "pattern",
    [
        *("a", "^a", "a$", "^a|b$", "^a\\$", "^(a$", "^a)$", "^(?=a)$", "^(?i:a)$", "^a*?$", "^a**$", "^a++$"),
        *("^(a)\\1$", "^\\bfoo$", "^*$", "^a{5000}$", "^([a-z]{1,50} ){1,50}$", "^a^b$", "^x{,3}$", "^[[a]$"),
        *("^[\\t][\\n\\t]$", "^[b-a]$", "^[\\d-x]$", "^" + "(" * 60 + ")" * 60 + "$", "^\x7f$", "^[a$"),
    ],
)
def test_other_expressions_are_left_to_the_last_check(pattern: str) -> None:
    with pytest.raises(NotPlain):
        pattern_grammar(pattern)


@given(st.text('ab[]()^$|*+?{}12,-\\dws."\n', max_size=12))
def test_what_a_grammar_writes_matches(inner: str) -> None:
    pattern = f"^{inner}$"
    if not is_expression(pattern):
        return
    try:
        grammar = grammar_of(pattern)
    except NotPlain:
        return
    for seed in range(3):
        assert re.search(pattern, json.loads(written(grammar, random.Random(seed))))


def test_expressions_that_python_cannot_read() -> None:
    assert not is_expression("\\p{L}")
    assert is_expression("[[a]")
