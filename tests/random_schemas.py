"""JSON schemas at random: nested, with enums, arrays with bounds and optional keys."""

import random
from typing import Any

KEYS = ("name", "age", "tags", "city", "score", "active", "kind", "items", "size", "note", "id", "owner")
WORDS = ("red", "green", "blue", "small", "large", "yes", "no", "maybe", "north", "south")


def random_schema(seed: int) -> dict[str, Any]:
    """An object's schema; the same seed gives the same one."""
    return _object(random.Random(seed), 3)


def _object(chance: random.Random, depth: int) -> dict[str, Any]:
    keys = chance.sample(KEYS, chance.randint(1, 4))
    properties = {key: _any(chance, depth - 1) for key in keys}
    required = [key for key in keys if chance.random() < 0.6]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _array(chance: random.Random, depth: int) -> dict[str, Any]:
    least = chance.randint(0, 2)
    return {
        "type": "array",
        "items": _any(chance, depth - 1),
        "minItems": least,
        "maxItems": least + chance.randint(1, 2),
    }


def _any(chance: random.Random, depth: int) -> dict[str, Any]:
    nested = [_object, _array] if depth > 0 else []
    return chance.choice([_string, _enum, _number, _flag, _either, *nested, *nested])(chance, depth)


def _string(chance: random.Random, _depth: int) -> dict[str, Any]:
    least = chance.randint(0, 3)
    return {"type": "string", "minLength": least, "maxLength": least + chance.randint(4, 20)}


def _enum(chance: random.Random, _depth: int) -> dict[str, Any]:
    values: list[object] = [*chance.sample(WORDS, 3), chance.randint(0, 99), None]
    return {"enum": values[: chance.randint(1, 5)]}


def _number(chance: random.Random, _depth: int) -> dict[str, Any]:
    return {"type": chance.choice(["integer", "number"])}


def _flag(chance: random.Random, _depth: int) -> dict[str, Any]:
    return {"type": chance.choice(["boolean", "null", ["boolean", "null"]])}


def _either(chance: random.Random, _depth: int) -> dict[str, Any]:
    return {"anyOf": [_enum(chance, 0), _string(chance, 0), {"type": "integer"}]}
