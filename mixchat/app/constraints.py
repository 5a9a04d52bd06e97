"""What an answer must be: JSON of a schema, of a grammar, or one of some texts.

Knows how a wish becomes a grammar and how the finished answer is checked once more; refuses to know how it was sampled
and where the texts came from.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from mixchat.chat.gbnf import choices_grammar
from mixchat.chat.schema import compile_schema
from mixchat.errors import BadAnswer, UsageError

_MOST_VALUE: Final = 80
_MOST_NAMED: Final = 8
_CHECKED: Final = "Not enforced while the answer is written, only checked at its end"
_UNCHECKED: Final = "Neither enforced nor checked"
_HINT: Final = "Ask again with another --seed, or name this demand in the prompt."


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must be.

    Attributes:
        grammar: GBNF that is enforced while decoding.
        warnings: Sentences that name what it does not enforce.
        schema: JSON Schema that the finished answer is checked against; None: none.
        choices: The texts that it may be; none: any.
    """

    grammar: str
    warnings: tuple[str, ...] = ()
    schema: Any = None
    choices: tuple[str, ...] = ()

    def check(self, text: str) -> None:
        """Check a finished answer, one that was not cut.

        Raises:
            BadAnswer: It does not satisfy the schema, or is none of the choices; the message says what and where.
        """
        if self.choices and text not in self.choices:
            raise BadAnswer(f"The answer {_short(text)} is none of the choices.", "Ask again with another --seed.")
        if self.schema is not None:
            _check_json(self.schema, text)


def constraint_from(json_schema: str | None, grammar: str | None, choices: Sequence[str]) -> Constraint | None:
    """What was wished for; None: nothing.

    Args:
        json_schema: A JSON Schema's text.
        grammar: GBNF.
        choices: Texts of which the answer is one.

    Raises:
        UsageError: More than one is given, or it cannot be compiled.
    """
    if sum((json_schema is not None, grammar is not None, bool(choices))) > 1:
        raise UsageError("--json-schema, --grammar and --choices exclude each other.", "Give one of them.")
    if json_schema is not None:
        return schema_constraint(json_schema)
    if grammar is not None:
        return grammar_constraint(grammar)
    return choices_constraint(choices) if choices else None


def schema_constraint(text: str) -> Constraint:
    """JSON of a schema.

    Raises:
        UsageError: It is no JSON, no JSON Schema, or cannot be compiled; the message has the JSON pointer.
    """
    schema = _schema_of(text)
    compiled = compile_schema(schema)
    known = _validator(schema, checked=True).format_checker.checkers
    formats = {place: _at(schema, place) for place in compiled.unenforced if place.endswith("/format")}
    unchecked = [place for place, name in formats.items() if isinstance(name, str) and name not in known]
    checked = [place for place in compiled.unenforced if place not in unchecked]
    texts = (_CHECKED, checked), (_UNCHECKED, [f"{place} {formats[place]!r}" for place in unchecked])
    return Constraint(compiled.grammar, tuple(_warning(text, named) for text, named in texts if named), schema)


def grammar_constraint(text: str) -> Constraint:
    """What a grammar describes; llama.cpp alone can say whether it compiles.

    Raises:
        UsageError: It is empty.
    """
    if not text.strip():
        raise UsageError("The grammar is empty.", "Write its rules as GBNF, beginning with: root ::= ...")
    return Constraint(text)


def choices_constraint(choices: Sequence[str]) -> Constraint:
    """One of some texts.

    Raises:
        UsageError: See `choices_grammar`.
    """
    return Constraint(choices_grammar(choices), choices=tuple(choices))


def _warning(text: str, places: Sequence[str]) -> str:
    more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
    return f"{text}: {', '.join(places[:_MOST_NAMED])}{more}."


def _at(schema: object, place: str) -> object:
    """What stands at a JSON pointer (RFC 6901); None where nothing does."""
    for step in place.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict):
            schema = schema.get(key)
        elif isinstance(schema, list) and key.isdecimal() and int(key) < len(schema):
            schema = schema[int(key)]
        else:
            return None
    return schema


def _schema_of(text: str) -> object:
    try:
        schema: object = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        hint = 'Give a file, or the schema itself: --json-schema \'{"type": "object"}\''
        raise UsageError(f"The schema is no JSON: {_reason(error)}.", hint) from error
    return schema


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _validator(schema: Any, *, checked: bool = False) -> Any:  # noqa: ANN401 - of the draft that the schema names
    """A validator that fetches nothing from anywhere.

    Raises:
        UsageError: `checked` and it is no schema.
    """
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - 0.1 s, only where a schema is given
    from jsonschema.validators import validator_for  # noqa: PLC0415 - 0.1 s, only where a schema is given
    from referencing import Registry  # noqa: PLC0415 - 0.1 s, only where a schema is given

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        if checked:
            kind.check_schema(schema)
    except SchemaError as error:
        where = pointer(error.path) or "its root"
        raise UsageError(f"The schema cannot be used: at {where}, {error.message}.", "Correct the schema.") from error
    return kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)


def _check_json(schema: object, text: str) -> None:
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - 0.1 s, only where a schema is given
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - 0.1 s, only where a schema is given

    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"The answer is no JSON: {_reason(error)}.", _HINT) from error
    try:
        found = best_match(_validator(schema).iter_errors(value))
    except Unresolvable as error:
        raise UsageError(f"The schema has a reference that leads nowhere: {error}.", "Correct the schema.") from error
    if found is not None:
        where, demand = pointer(found.absolute_path) or "its root", pointer(found.absolute_schema_path)
        message = f"The answer does not satisfy the schema: at {where}, {_short(found.message)} (schema: {demand})."
        raise BadAnswer(message, _HINT)


def pointer(steps: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_VALUE else f"{text[: _MOST_VALUE // 2]} ... {text[-_MOST_VALUE // 2 :]}"
