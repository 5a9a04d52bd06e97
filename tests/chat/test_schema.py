"""JSON Schema to GBNF, read back by a second reading of GBNF and checked by jsonschema."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft201909Validator, Draft202012Validator

from mixchat.chat.gbnf import Rules, choices_grammar
from mixchat.chat.schema import compile_schema
from mixchat.errors import UsageError
from tests.gbnf import accepts, written
from tests.random_schemas import random_schema

POINT = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "required": ["y"]}
TREE = {
    "$ref": "#/$defs/n",
    "$defs": {"n": {"properties": {"v": {"type": "null"}, "k": {"items": {"$ref": "#/$defs/n"}}}}},
}
ALL_OF = {
    "allOf": [
        {"properties": {"a": {"type": ["integer", "string"]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "number"}, "b": {"enum": [1, 2]}}, "required": ["b"]},
    ]
}
MERGED = {
    "allOf": [
        {"type": "array", "minItems": 1, "maxItems": 9, "items": {"enum": [1, 2, 3]}},
        {"type": "array", "minItems": 2, "maxItems": 3, "items": {"enum": [2, 3, 4]}},
    ]
}
PET = {
    "oneOf": [
        {"properties": {"t": {"const": "cat"}, "n": {"type": "null"}}, "required": ["t"]},
        {"properties": {"t": {"const": "dog"}}, "required": ["t"]},
    ]
}

TABLE: list[tuple[object, list[str], list[str]]] = [
    (True, ["1", '{"a": [1,2.5e-3]}', '"\\u00e9\\n"', "null", "-0.5"], ["01", "{a:1}", "", '"\\ud800"', "1 ", "tru"]),
    ({}, ["[]", "{}"], ["[", "nul"]),
    ({"type": "integer"}, ["0", "-12"], ["1.5", "00", "--1", '"1"']),
    ({"type": ["string", "null"]}, ['""', "null"], ["0", "[]"]),
    ({"enum": ["a", 1, None, [1, {"b": 2}], "é\n"]}, ['"a"', "1", "null", '[1,{"b":2}]', '"é\\n"'], ["2", "a"]),
    ({"enum": ["a", 1, 2.5, 3.0], "type": "integer"}, ["1", "3.0"], ['"a"', "2.5"]),
    ({"enum": ["a", 1], "const": 1}, ["1"], ['"a"']),
    ({"const": "\ud800"}, ['"\\ud800"'], []),
    ({"minLength": 2, "maxLength": 3}, ['"ab"', '"\\u00e9\\n\U0001f600"'], ['"a"', '"abcd"', "1"]),
    ({"type": "string", "maxLength": 0}, ['""'], ['"a"']),
    ({"minimum": 3}, ["4", "4.5"], ['"4"']),
    (POINT, ['{"x":1,"y":2}', '{"y": 2}'], ["{}", '{"x":1}', '{"y":2,"x":1}', '{"y":2,"z":1}', '{"x":1,}', '{,"y":1}']),
    ({"type": "object"}, ["{}", '{"a": {"b": []}}'], ["[]", '{"a"}']),
    ({"required": ["a"]}, ['{"a":1}', '{"a":1,"b":2}'], ["{}"]),
    (
        {"properties": {"ab": {"type": "null"}, "ac": {"type": "null"}}, "additionalProperties": {"type": "integer"}},
        ["{}", '{"ab":null,"ac":null,"x":1}', '{"a":1, "abc":2}', '{"b":1,"c":2}'],
        ['{"ab":1}', '{"x":null}', '{"x":1,"ab":null}', '{"\\u0061b":1}'],
    ),
    ({"properties": {'q"': {}}, "additionalProperties": True}, ['{"q\\"":1,"z":2}'], []),
    ({"properties": {"a": False, "b": True}}, ["{}", '{"b":1}'], ['{"a":1}']),
    ({"items": {"type": "null"}}, ["[]", "[null]", "[null, null,null]"], ["[1]", "[null,]"]),
    ({"items": {"type": "null"}, "minItems": 2, "maxItems": 3}, ["[null,null]"], ["[null]", "[null,null,null,null]"]),
    ({"items": False}, ["[]"], ["[1]"]),
    ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
    ({"prefixItems": [{"const": 1}, {"const": 2}]}, ["[]", "[1]", "[1,2]"], ["[2]", "[1,2,3]"]),
    ({"prefixItems": [{"const": 1}, False, True]}, ["[]", "[1]"], ["[1,2]"]),
    ({"prefixItems": [{"const": 1}], "minItems": 2}, ["[1,2]", '[1,"a",3]'], ["[1]"]),
    ({"prefixItems": [{"const": 1}, {"const": 2}], "maxItems": 1}, ["[1]"], ["[1,2]"]),
    ({"items": [{"const": 1}], "additionalItems": {"const": 2}}, ["[]", "[1,2,2]"], ["[1,1]"]),
    ({"items": [{"const": 1}]}, ["[1]"], ["[1,1]"]),
    ({"anyOf": [{"type": "null"}, {"type": "integer"}, False]}, ["null", "1"], ['"a"']),
    ({"type": "string", "anyOf": [{"maxLength": 1}, {"const": "abc"}]}, ['"a"', '"abc"'], ['"ab"', "1"]),
    ({"anyOf": [{"const": 1}, {"const": 2}], "oneOf": [{"const": 2}, {"const": 3}]}, ["2"], ["1", "3"]),
    (PET, ['{"t":"cat","n":null}', '{"t":"dog"}'], ['{"t":"dog","n":null}', "{}"]),
    (ALL_OF, ['{"a":1,"b":2}'], ['{"a":"x","b":2}', '{"a":1}', '{"b":2}']),
    (MERGED, ["[2,3]", "[3,3,3]"], ["[2]", "[1,2]", "[2,2,2,2]"]),
    (
        {"allOf": [{"properties": {"a": True}, "additionalProperties": False}, {"properties": {"b": {}, "a": {}}}]},
        ["{}", '{"a":1}'],
        ['{"b":1}'],
    ),
    (
        {"additionalProperties": {"type": "integer"}, "allOf": [{"properties": {"b": {"type": ["number", "null"]}}}]},
        ['{"b":1}', '{"c":1}'],
        ['{"b":null}'],
    ),
    (TREE, ["{}", '{"k":[{"v":null,"k":[]},{}]}'], ['{"k":[1]}']),
    ({"$ref": "#/$defs/a~1b%", "$defs": {"a/b%": {"const": 1}}}, ["1"], ["2"]),
    ({"$ref": "#/anyOf/1", "anyOf": [{"const": 1}, {"const": 2}]}, ["2"], ["1"]),
    (
        {"properties": {"p": {"$ref": "#/$defs/s", "maxLength": 1}}, "$defs": {"s": {"type": "string"}}},
        ['{"p":"a"}'],
        ['{"p":"ab"}'],
    ),
    ({"format": "date"}, ['"2024-02-29"', '"1999-12-31"'], ['"2023-02-29"', '"2024-04-31"', '"2024-13-01"']),
    ({"format": "time"}, ['"23:59:59Z"', '"00:00:00.5+01:00"'], ['"24:00:00Z"', '"00:00:00"']),
    ({"format": "date-time"}, ['"2024-01-01T00:00:00Z"'], ['"2024-01-01"']),
    ({"format": "uuid"}, ['"123e4567-e89b-12d3-a456-426614174000"'], ['"123e4567"']),
]


@pytest.mark.parametrize(("schema", "good", "bad"), TABLE, ids=lambda value: json.dumps(value)[:40])
def test_a_grammar_allows_what_the_schema_does(schema: object, good: list[str], bad: list[str]) -> None:
    grammar = compile_schema(schema).grammar
    assert [text for text in good if not accepts(grammar, text)] == []
    assert [text for text in bad if accepts(grammar, text)] == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: json.dumps(row[0])[:40])
def test_what_a_grammar_writes_satisfies_the_schema(row: tuple[Any, list[str], list[str]]) -> None:
    _check_writing(row[0], 30)


@given(st.integers(0, 2**32))
def test_what_random_schemas_grammars_write_satisfies_them(seed: int) -> None:
    _check_writing(random_schema(seed), 3)


def _check_writing(schema: dict[str, Any] | bool, count: int) -> None:
    compiled = compile_schema(schema)
    is_old = isinstance(schema, dict) and isinstance(schema.get("items"), list)
    kind = Draft201909Validator if is_old else Draft202012Validator
    validator = kind(schema, format_checker=kind.FORMAT_CHECKER)
    for seed in range(count):
        text = written(compiled.grammar, random.Random(seed))
        if not compiled.unenforced:
            validator.validate(json.loads(text))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8", min_codepoint=32), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON)
def test_every_json_value_is_a_const_and_a_value_of_no_schema(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert accepts(compile_schema({"const": value}).grammar, text)
    plain = "".join(sign for sign in text if not "\x7f" <= sign <= "\x9f")
    assert accepts(compile_schema(True).grammar, plain)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    (
                        "type",
                        "enum",
                        "items",
                        "properties",
                        "required",
                        "anyOf",
                        "allOf",
                        "$ref",
                        "pattern",
                        "minLength",
                        "additionalProperties",
                        "oneOf",
                        "const",
                        "prefixItems",
                        "maxItems",
                    )
                ),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_whatever_a_schema_holds_it_compiles_or_is_refused(schema: object) -> None:
    try:
        assert compile_schema(schema).grammar.startswith("root ::= ")
    except UsageError as error:
        words = error.message
        assert "at " in words


UNENFORCED: list[tuple[object, tuple[str, ...]]] = [
    ({"type": "integer", "minimum": 1, "multipleOf": 2}, ("/minimum", "/multipleOf")),
    ({"type": "string", "minimum": 1}, ()),
    ({"properties": {"a/b": {"items": {"not": {}}}}}, ("/properties/a~1b/items/not",)),
    ({"type": "array", "uniqueItems": False}, ()),
    ({"type": "array", "uniqueItems": True, "contains": {}}, ("/uniqueItems", "/contains")),
    ({"type": "object", "patternProperties": {}, "if": {}, "minProperties": 0}, ("/patternProperties", "/if")),
    ({"type": "string", "format": "email"}, ("/format",)),
    ({"type": "string", "format": "date", "maxLength": 3}, ("/maxLength",)),
    ({"type": "string", "pattern": "^a+$", "minLength": 2}, ("/minLength",)),
    ({"type": "string", "pattern": "a", "minLength": 2}, ("/pattern",)),
    ({"type": "string", "minLength": 3000, "maxLength": 4000}, ("/minLength", "/maxLength")),
    ({"enum": ["a", "bb"], "minLength": 2}, ("/minLength",)),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ("/oneOf",)),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}, False]}, ()),
    ({"oneOf": [{"const": 1}, {"enum": [2]}]}, ()),
    ({"oneOf": [{"const": 1}, {"type": "integer"}]}, ("/oneOf",)),
    ({"oneOf": [{"type": "object"}, {"properties": {"a": {}}}]}, ("/oneOf",)),
    (PET, ()),
    (
        {"oneOf": [{"properties": {"a": POINT}, "required": ["a"]}, {"properties": {"a": POINT}, "required": ["a"]}]},
        ("/oneOf",),
    ),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer", "maximum": 3}}}, ("/$defs/a/maximum",)),
    ({"allOf": [{"type": "integer", "minimum": 1}, {"minimum": 2}]}, ("/allOf/0/minimum", "/allOf/1/minimum")),
    ({"allOf": [{"pattern": "^a$"}, {"pattern": "^b$"}]}, ("/allOf (pattern)",)),
    ({"allOf": [{"anyOf": [{"const": 1}]}, {"anyOf": [{"const": 2}]}]}, ("/allOf (anyOf)",)),
]


@pytest.mark.parametrize(("schema", "pointers"), UNENFORCED, ids=lambda value: json.dumps(value)[:50])
def test_what_a_grammar_cannot_express_is_named(schema: object, pointers: tuple[str, ...]) -> None:
    assert compile_schema(schema).unenforced == pointers


def deep(depth: int) -> object:
    return {"items": deep(depth - 1)} if depth else {}


REFUSED: list[tuple[object, str]] = [
    (3, "at its root, a schema must be"),
    ({"type": 3}, "/type"),
    ({"type": "text"}, "/type, the types are"),
    ({"properties": []}, "/properties"),
    ({"properties": {"a": 1}}, "/properties/a"),
    ({"required": [1]}, "/required"),
    ({"minItems": -1}, "/minItems"),
    ({"minItems": True}, "/minItems"),
    ({"items": 1}, "/items"),
    ({"pattern": "("}, "/pattern"),
    ({"$ref": "http://example.org/a"}, "/$ref, only references inside"),
    ({"$ref": "#/nowhere/at/all"}, "/$ref"),
    ({"$ref": "#/enum/7", "enum": [1]}, "/$ref"),
    ({"$ref": "#/enum/a", "enum": [1]}, "/$ref"),
    ({"$dynamicRef": "#a"}, "/$dynamicRef"),
    ({"$ref": "#"}, "its reference leads back to itself"),
    ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "it refers to itself"),
    ({"allOf": [{"$ref": "#"}]}, "on and on"),
    (False, "nothing satisfies it"),
    ({"enum": []}, "nothing satisfies it"),
    ({"enum": [float("nan")]}, "JSON has no such value"),
    ({"anyOf": [False, {"type": "string", "enum": [1]}]}, "at /anyOf, nothing"),
    ({"type": "string", "minLength": 2, "maxLength": 1}, "nothing satisfies it"),
    ({"type": "array", "minItems": 2, "maxItems": 1}, "nothing satisfies it"),
    ({"type": "array", "items": False, "minItems": 1}, "nothing satisfies it"),
    ({"type": "array", "prefixItems": [False], "minItems": 1}, "nothing satisfies it"),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "nothing satisfies it"),
    ({"type": "object", "additionalProperties": False, "required": ["a"]}, "nothing satisfies it"),
    ({"allOf": [{"type": "string"}, {"type": "null"}]}, "nothing satisfies it"),
    ({"allOf": [True, False]}, "nothing satisfies it"),
    (deep(70), "nested more than 60 deep"),
]


@pytest.mark.parametrize(("schema", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_no_schema_is_refused_with_its_place(schema: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_schema(schema)
    assert words in caught.value.message


def test_a_schema_cannot_grow_without_end() -> None:
    with pytest.raises(UsageError, match="more than 20000 rules"):
        compile_schema({"items": [{"type": "string", "maxLength": count % 2000} for count in range(15000)]})


def test_equal_rules_are_there_once() -> None:
    rules = Rules()
    assert rules.add('"a"') == rules.add('"a"')
    assert rules.text("r1") == 'root ::= r1\nr1 ::= "a"\n'


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_choices_are_all_that_is_allowed(choices: list[str]) -> None:
    if any("\0" in choice or "\ud800" <= max(choice) <= "\udfff" for choice in choices):
        return
    grammar = choices_grammar(choices)
    assert all(accepts(grammar, choice) for choice in choices)
    assert not accepts(grammar, "".join(choices) + "x")


@pytest.mark.parametrize("choices", [[], [""], ["a", ""], ["a", "a"], ["a\0"]])
def test_choices_that_cannot_be(choices: list[str]) -> None:
    with pytest.raises(UsageError):
        choices_grammar(choices)
