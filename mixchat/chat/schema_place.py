"""A JSON Schema's parts, each with the place it stands at.

Knows references, `allOf` and what several schemas demand together; refuses to know grammars. Keywords that no grammar
can express are taken out here and remembered by their JSON pointer.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mixchat.chat.pattern import is_expression
from mixchat.errors import UsageError

TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
FORMATS: Final = ("date", "time", "date-time", "uuid")
_MOST_REFERENCES: Final = 100
# What no grammar can express, and the types that it is about.
_BEYOND: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), ("integer", "number")
    ),
    **dict.fromkeys(("uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"), ("array",)),
    **dict.fromkeys(("patternProperties", "propertyNames", "minProperties", "maxProperties"), ("object",)),
    **dict.fromkeys(("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties"), ("object",)),
    **dict.fromkeys(("not", "if"), TYPES),
}
_WITHOUT_EFFECT: Final = {"uniqueItems": False, "minProperties": 0, "minContains": 1}
_NEVER: Final = ("$dynamicRef", "$recursiveRef")
# What shapes each type, for a schema that names none.
_SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A schema and where it stands.

    Attributes:
        pointer: JSON pointer in the whole schema.
        schema: As JSON gives it; its parts may be places already.
        key: What tells it from every other place.
    """

    pointer: str
    schema: object
    key: str

    def at(self, *steps: str | int, value: object) -> "Place":
        """A part of it."""
        if isinstance(value, Place):
            return value
        tail = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
        return Place(self.pointer + tail, value, self.key + tail)


def together(places: list[Place]) -> Place:
    """A place that demands what all of these do."""
    if len(places) == 1:
        return places[0]
    return Place(places[0].pointer, {"allOf": places}, "&".join(place.key for place in places))


def wrong(pointer: str, words: str) -> UsageError:
    """The error for a schema that cannot be compiled."""
    return UsageError(f"The schema cannot be compiled: at {pointer or 'its root'}, {words}.", "Correct the schema.")


class Opener:
    """Opens places: follows their references, merges what stands together."""

    def __init__(self, whole: object) -> None:
        self._whole = whole
        self._unenforced: dict[str, None] = {}

    @property
    def unenforced(self) -> tuple[str, ...]:
        """Pointers of what was taken out so far."""
        return tuple(self._unenforced)

    def leave(self, pointer: str) -> None:
        """Remember a keyword that the grammar does not enforce."""
        self._unenforced[pointer] = None

    def open(self, place: Place, depth: int = 0) -> dict[str, object] | None:
        """The keywords of a place in force, with `anyOf` and `oneOf` left as they are; None: nothing satisfies it.

        Raises:
            UsageError: It is no schema, or a reference leads nowhere.
        """
        if depth > _MOST_REFERENCES:
            raise wrong(place.pointer, "references and allOf lead on and on")
        schema = place.schema
        if isinstance(schema, bool):
            return {} if schema else None
        if not isinstance(schema, dict):
            raise wrong(place.pointer, "a schema must be an object, true or false")
        mine = self._own(place, schema)
        merged: dict[str, object] | None = mine
        for part in self._parts(place, schema):
            other = self.open(part, depth + 1)
            merged = None if other is None or merged is None else self._merged(place, merged, other)
        return merged

    def alias(self, place: Place) -> Place | None:
        """The place that a plain reference means."""
        schema = place.schema
        if isinstance(schema, dict) and "$ref" in schema and not schema.keys() & _SHAPING:
            return self._target(place, schema["$ref"])
        return None

    def _parts(self, place: Place, schema: dict[str, object]) -> Iterable[Place]:
        if "$ref" in schema:
            yield self._target(place, schema["$ref"])
        parts = schema.get("allOf", [])
        assert isinstance(parts, list)  # noqa: S101 - it was checked
        for index, part in enumerate(parts):
            yield place.at("allOf", index, value=part)

    def _target(self, place: Place, reference: object) -> Place:
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise wrong(f"{place.pointer}/$ref", "only references inside the schema (#/$defs/name) can be followed")
        found = self._whole
        for step in filter(None, reference[1:].split("/")):
            found = _child(found, step.replace("~1", "/").replace("~0", "~"))
            if found is None:
                raise wrong(f"{place.pointer}/$ref", f"{reference} leads nowhere")
        return Place(reference[1:], found, reference[1:])

    def _own(self, place: Place, schema: dict[str, object]) -> dict[str, object]:
        """The keywords that stand at a place itself, its parts as places."""
        self._check(place, schema)
        for name in schema:
            if _is_beyond(name, schema):
                self.leave(f"{place.pointer}/{name}")
        kept = {name: value for name, value in schema.items() if name in _SHAPING - {"allOf"}}
        if "const" in kept:
            const = as_json(kept.pop("const"))
            kept["enum"] = [value for value in schema.get("enum", [schema["const"]]) if as_json(value) == const]  # type: ignore[attr-defined]
        for name in ("items", "additionalItems", "additionalProperties"):
            if isinstance(kept.get(name), dict | bool):
                kept[name] = place.at(name, value=kept[name])
        if isinstance(kept.get("items"), list):  # as before draft 2020-12
            kept["prefixItems"] = kept.pop("items")
            kept |= {"items": kept.pop("additionalItems")} if "additionalItems" in kept else {}
        for name in ("prefixItems", "anyOf", "oneOf"):
            if isinstance(values := kept.get(name), list):
                kept[name] = [place.at(name, index, value=value) for index, value in enumerate(values)]
        if isinstance(properties := kept.get("properties"), dict):
            kept["properties"] = {name: place.at("properties", name, value=each) for name, each in properties.items()}
        return kept | {name: schema[name] for name in _BEYOND.keys() & schema.keys()}

    def _check(self, place: Place, schema: dict[str, object]) -> None:
        for name, (kinds, what) in _FORMS.items():
            value = schema.get(name)
            if name in schema and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
                raise wrong(f"{place.pointer}/{name}", f"there must be {what}")
        for name in _COUNTS & schema.keys():
            if schema[name] < 0:  # type: ignore[operator]  # it is an int
                raise wrong(f"{place.pointer}/{name}", "there must be no negative number")
        for name in _NEVER:
            if name in schema:
                raise wrong(f"{place.pointer}/{name}", "it cannot be followed")
        if not set(named_types(schema)) <= set(TYPES):
            raise wrong(f"{place.pointer}/type", f"the types are {', '.join(TYPES)}")
        if not is_expression(str(schema.get("pattern", ""))):
            raise wrong(f"{place.pointer}/pattern", "Python cannot read this regular expression")
        _check_values(place, schema)
        if any(not isinstance(name, str) for name in schema.get("required", [])):  # type: ignore[attr-defined]
            raise wrong(f"{place.pointer}/required", "there must be a list of names")

    def _merged(self, place: Place, one: dict[str, object], other: dict[str, object]) -> dict[str, object]:
        """What both demand; of two that no grammar can join, the first."""
        merged = one | other
        for name in one.keys() & other.keys():
            merged[name] = self._joined(place, name, one[name], other[name])
        _close(merged, one, other)
        _close(merged, other, one)
        return merged

    def _joined(self, place: Place, name: str, one: object, other: object) -> object:  # noqa: PLR0911 - a table
        match name, one, other:
            case ("type", _, _):
                return list(both_types(named_types({name: one}), named_types({name: other})))
            case ("minItems" | "minLength", int(), int()):
                return max(one, other)
            case ("maxItems" | "maxLength", int(), int()):
                return min(one, other)
            case ("required", list(), list()):
                return list(dict.fromkeys((*one, *other)))
            case ("enum", list(), list()):
                return [value for value in one if as_json(value) in set(map(as_json, other))]
            case ("properties", dict(), dict()):
                joint = {key: together([one[key], other[key]]) for key in one if key in other}
                return one | other | joint
            case (_, Place(), Place()):
                return together([one, other])
        if one != other and name not in _BEYOND:
            self.leave(f"{place.pointer}/allOf ({name})")
        return one


def _check_values(place: Place, schema: dict[str, object]) -> None:
    try:
        as_json([schema.get("enum"), schema.get("const")])
    except ValueError as error:
        raise wrong(place.pointer, "JSON has no such value") from error


def _close(merged: dict[str, object], one: dict[str, object], other: dict[str, object]) -> None:
    """What one schema says of further keys holds for the keys that only the other one has."""
    extra = one.get("additionalProperties")
    new, named = other.get("properties"), one.get("properties", {})
    if isinstance(extra, Place) and isinstance(new, dict) and isinstance(named, dict):
        properties = merged["properties"]
        assert isinstance(properties, dict)  # noqa: S101 - it was checked
        merged["properties"] = properties | {
            name: together([place, extra]) for name, place in new.items() if name not in named
        }


def _child(value: object, step: str) -> object:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    return None


def named_types(schema: dict[str, object]) -> tuple[str, ...]:
    """The types that a schema names; of one that names none, all."""
    named = schema.get("type", list(TYPES))
    return tuple(map(str, named)) if isinstance(named, list) else (str(named),)


def meant_types(schema: dict[str, object]) -> tuple[str, ...]:
    """The types that a schema names; of one that names none, those that it says something about; or all."""
    about = [name for name, words in _SHAPES.items() if schema.keys() & set(words)]
    return both_types(named_types({"type": about} if about and "type" not in schema else schema), TYPES)


def both_types(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """The types that both allow; an integer is a number."""
    wide = with_integers(one) & with_integers(other)
    return tuple(name for name in TYPES if name in wide and not (name == "integer" and "number" in wide))


def with_integers(names: Iterable[str]) -> set[str]:
    """These types; with "number", integers too."""
    return {part for name in names for part in ((name, "integer") if name == "number" else (name,))}


def as_json(value: object) -> str:
    """A value as the answer has it, compact.

    Raises:
        ValueError: JSON has no such value (NaN).
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return json.dumps(value, separators=(",", ":")) if any("\ud800" <= sign <= "\udfff" for sign in text) else text


def _is_beyond(name: str, schema: dict[str, object]) -> bool:
    """Whether a keyword demands something that no grammar can express."""
    if name == "format":
        return schema[name] not in FORMATS and "string" in named_types(schema)
    if name not in _BEYOND or (name in _WITHOUT_EFFECT and schema[name] == _WITHOUT_EFFECT[name]):
        return False
    return bool(set(_BEYOND[name]) & set(named_types(schema)))


_WHOLE: Final = ((int,), "a whole number")
_COUNTS: Final = {"minItems", "maxItems", "minLength", "maxLength"}
_FORMS: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), _WHOLE),
    **dict.fromkeys(("properties", "$defs", "definitions"), ((dict,), "an object")),
    **dict.fromkeys(("required", "enum", "prefixItems", "anyOf", "oneOf", "allOf"), ((list,), "a list")),
    **dict.fromkeys(("pattern", "format", "$ref"), ((str,), "a text")),
    "type": ((str, list), "a type or a list of types"),
    "items": ((dict, list, bool, Place), "a schema"),
    "additionalItems": ((dict, bool, Place), "a schema"),
    "additionalProperties": ((dict, bool, Place), "a schema"),
}
_SHAPING: Final = {*_FORMS, "const"} - {"$defs", "definitions", "$ref"}
