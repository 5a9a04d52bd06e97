"""What an answer must be, and its last check."""

import json

import pytest

from mixchat.app.constraints import Constraint, constraint_from, pointer
from mixchat.errors import BadAnswer, UsageError

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "a/b": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["age"],
    }
)


def of_schema(text: str) -> Constraint:
    found = constraint_from(text, None, ())
    assert found is not None
    return found


def test_nothing_is_no_constraint() -> None:
    assert constraint_from(None, None, ()) is None


@pytest.mark.parametrize("wishes", [("{}", "root ::= x", ()), (None, "root ::= x", ("a",)), ("{}", None, ("a",))])
def test_one_wish_at_a_time(wishes: tuple[str | None, str | None, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        constraint_from(*wishes)


def test_a_schema_becomes_a_grammar_and_names_what_it_leaves() -> None:
    found = of_schema(SCHEMA)
    assert found.grammar.startswith("root ::= ")
    (warning,) = found.warnings
    assert warning.endswith("only checked at its end: /properties/age/minimum, /properties/age/maximum.")
    found.check('{"age": 3, "a/b": ["x"]}')


def test_many_unenforced_keywords_are_counted() -> None:
    found = of_schema(json.dumps({"prefixItems": [{"not": {}}] * 11}))
    assert found.warnings[0].endswith("/prefixItems/7/not and 3 more.")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"age": 131}', "at /age, 131 is greater than the maximum of 130 (schema: /properties/age/maximum)"),
        ("{}", "at its root, 'age' is a required property"),
        ('{"age": 1, "a/b": [2]}', "at /a~1b/0, 2 is not of type 'string'"),
        ('{"age": NaN}', "no JSON: JSON has no NaN"),
        ('{"age": ', "no JSON: "),
        ("", "no JSON: "),
        ("[" * 100_000, "no JSON: it is nested too deeply"),
    ],
)
def test_an_answer_is_checked_again(answer: str, words: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        of_schema(SCHEMA).check(answer)
    assert words in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 9


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(BadAnswer) as caught:
        of_schema('{"type": "string", "pattern": "b"}').check(json.dumps("a" * 5000))
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ('{"enum": [NaN]}', "JSON has no NaN"),
        ("[" * 100_000, "nested too deeply"),
        ('{"properties": {"a": {"type": "thing"}}}', "at /properties/a/type"),
        ('{"title": 3}', "at /title, 3 is not of type 'string'"),
        ("3", "at its root"),
        ('{"$ref": "https://example.org/schema"}', "/$ref"),
    ],
)
def test_what_is_no_schema_is_wrong_usage(schema: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        of_schema(schema)
    assert words in caught.value.message


def test_a_reference_in_an_unenforced_part_is_not_fetched() -> None:
    with pytest.raises(UsageError, match="leads nowhere"):
        of_schema('{"not": {"$ref": "http://127.0.0.1:9/schema"}}').check("1")


def test_an_older_draft_is_checked_by_its_own_rules() -> None:
    old = '{"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"const": 1}], "additionalItems": false}'
    found = of_schema(old)
    found.check("[1]")
    with pytest.raises(BadAnswer):
        found.check("[1, 2]")


def test_a_format_that_nobody_checks_is_named() -> None:
    found = of_schema(
        '{"properties": {"a/b": {"format": "nonsense"}, "when": {"format": "email"}, "n": {"minimum": 1}}}'
    )
    checked, unchecked = found.warnings
    assert checked.startswith("Not enforced while the answer is written, only checked at its end: ")
    assert "/properties/when/format" in checked
    assert "/properties/n/minimum" in checked
    assert unchecked == "Neither enforced nor checked: /properties/a~1b/format 'nonsense'."


def test_choices() -> None:
    found = constraint_from(None, None, ("yes", "no"))
    assert found is not None
    assert found.grammar == 'root ::= "yes" | "no"\n'
    found.check("yes")
    with pytest.raises(BadAnswer, match="none of the choices"):
        found.check("maybe")


def test_a_grammar_is_passed_on() -> None:
    assert constraint_from(None, 'root ::= "a"', ()) == Constraint('root ::= "a"')
    with pytest.raises(UsageError, match="empty"):
        constraint_from(None, " \n", ())


def test_a_pointer() -> None:
    assert pointer(["a/b", 0, "~"]) == "/a~1b/0/~0"
