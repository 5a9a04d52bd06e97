"""JSON Schema to GBNF.

Knows which texts a schema allows, as far as a grammar can tell them apart; refuses to know how they are sampled. The
grammar writes a part of what the schema allows, never more, except for the keywords that it names as unenforced:

- keys come in the schema's order; a schema with `properties` and without `additionalProperties` gets no other keys, one
  with `prefixItems` and without `items` no further items;
- a space may stand behind a colon and a comma, and no other white space;
- a schema without `type` is of the types that its keywords speak about.

JSON Schema 2020-12: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from mixchat.chat import schema_parts as parts
from mixchat.chat.gbnf import MOST_REPEATS, Rules, either
from mixchat.chat.pattern import NotPlain, pattern_grammar
from mixchat.chat.schema_place import (
    Opener,
    Place,
    as_json,
    both_types,
    meant_types,
    named_types,
    together,
    with_integers,
    wrong,
)

_MOST_NESTED: Final = 60
_VALUES: Final = {"enum", "type"}
_ANY: Final = Place("", True, "*")  # noqa: FBT003 - the schema that allows everything


class Impossible(Exception):
    """No value satisfies a part of the schema."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schema's grammar.

    Attributes:
        grammar: GBNF with the rule `root`.
        unenforced: JSON pointers of the keywords that the grammar does not enforce.
    """

    grammar: str
    unenforced: tuple[str, ...]


def compile_schema(schema: object) -> Compiled:
    """The grammar of the JSON texts that satisfy a schema.

    Args:
        schema: As JSON gives it.

    Raises:
        UsageError: It is no schema, nothing satisfies it, or it cannot be compiled; the message has the JSON pointer.
    """
    compiler = _Compiler(schema)
    try:
        root = compiler.value(Place("", schema, ""))
    except Impossible as error:
        raise wrong(str(error), "nothing satisfies it") from error
    return Compiled(compiler.rules.text(root), compiler.opener.unenforced)


class _Compiler:
    def __init__(self, schema: object) -> None:
        self.rules = Rules()
        self.opener = Opener(schema)
        self._names: dict[str, str] = {}
        self._beginning: list[str] = []
        self._depth = 0

    def value(self, place: Place) -> str:
        """The rule of a place's values."""
        place = self._meant(place)
        if place.key in self._beginning:
            raise wrong(place.pointer, "it refers to itself with nothing in between")
        if name := self._names.get(place.key):
            return name
        name = self._names[place.key] = self.rules.reserve()
        self._beginning.append(place.key)
        try:
            return self.rules.define(name, self._body(place))
        except Impossible:
            del self._names[place.key]
            raise
        finally:
            self._beginning.pop()

    def _meant(self, place: Place) -> Place:
        """The place behind plain references."""
        seen: set[str] = set()
        while target := self.opener.alias(place):
            if target.key in seen:
                raise wrong(place.pointer, "its reference leads back to itself")
            seen.add(target.key)
            place = target
        return _ANY if place.schema is True or place.schema == {} else place

    @contextmanager
    def _inside(self, place: Place) -> Iterator[None]:
        """Parts of an object or array: something stands before them."""
        if self._depth == _MOST_NESTED:
            raise wrong(place.pointer, f"it is nested more than {_MOST_NESTED} deep")
        outer, self._beginning = self._beginning, []
        self._depth += 1
        try:
            yield
        finally:
            self._beginning = outer
            self._depth -= 1

    def _body(self, place: Place) -> str:
        schema: Any = self.opener.open(place)
        if schema is None:
            raise Impossible(place.pointer)
        for name in ("anyOf", "oneOf"):
            if name in schema:
                return self._branches(place, schema, name)
        if "enum" in schema:
            return self._values(place, schema)
        options = [self._typed(place, schema, name) for name in meant_types(schema)]
        possible = [option for option in options if option]
        if not possible:
            raise Impossible(place.pointer)
        return either(possible)

    def _branches(self, place: Place, schema: Any, name: str) -> str:  # noqa: ANN401 - of any form
        """One of several schemas, each together with what stands beside them."""
        beside = {key: value for key, value in schema.items() if key != name}
        base = [Place(place.pointer, beside, f"{place.key}!{name}")] if beside else []
        places = [together([*base, branch]) for branch in schema[name]]
        options: list[str] = []
        for each in places:
            try:
                options.append(self.value(each))
            except Impossible:
                continue
        if not options:
            raise Impossible(f"{place.pointer}/{name}")
        opened = [self.opener.open(self._meant(each)) for each in places]
        pairs = [(one, other) for index, one in enumerate(opened) for other in opened[:index]]
        if name == "oneOf" and not all(self._disjoint(*pair) for pair in pairs):
            self.opener.leave(f"{place.pointer}/oneOf")
        return either(options)

    def _disjoint(self, one: Any, other: Any, *, deep: bool = True) -> bool:  # noqa: ANN401 - of any form
        """Whether two schemas certainly share no value: by type, by value, or by a key that both require."""
        if one is None or other is None or not both_types(meant_types(one), meant_types(other)):
            return True
        if "enum" in one and "enum" in other:
            return not set(_texts(one)) & set(_texts(other))
        if not deep or both_types(meant_types(one), meant_types(other)) != ("object",):
            return False
        keys = set(one.get("required", ())) & set(other.get("required", ()))
        shared = [key for key in keys if key in one.get("properties", {}) and key in other.get("properties", {})]
        opened = [[self.opener.open(self._meant(each["properties"][key])) for each in (one, other)] for key in shared]
        return any(self._disjoint(*pair, deep=False) for pair in opened)

    def _values(self, place: Place, schema: Any) -> str:  # noqa: ANN401 - of any form
        for name in schema.keys() - _VALUES:
            self.opener.leave(f"{place.pointer}/{name}")
        texts = _texts(schema)
        if not texts:
            raise Impossible(place.pointer)
        return either(map(parts.text, texts))

    def _typed(self, place: Place, schema: Any, name: str) -> str | None:  # noqa: ANN401 - of any form
        """The rule of a schema's values of one type; None where there are none."""
        if name in parts.SIMPLE:
            return self.rules.add(parts.SIMPLE[name])
        how = {"object": self._object, "array": self._array, "string": self._string}[name]
        try:
            return self.rules.add(how(place, schema))
        except Impossible:
            return None

    def _object(self, place: Place, schema: Any) -> str:  # noqa: ANN401 - of any form
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        extra = schema.get("additionalProperties") or (None if properties else _ANY)
        all_places = properties | {key: extra or _ANY for key in required if key not in properties}
        with self._inside(place):
            members: list[tuple[str, bool]] = []
            for key, part in all_places.items():
                value = self._possible(part, needed=key in required)
                if value:
                    members.append((self.rules.add(parts.member(as_json(key), value)), key in required))
            others = self._possible(extra, needed=False)
        pair = self.rules.add(f"{parts.other_key(self.rules, all_places)} {parts.COLON} {others}") if others else None
        return parts.braces(self.rules, members, pair)

    def _array(self, place: Place, schema: Any) -> str:  # noqa: ANN401 - of any form
        least, most = self._bounds(place, schema, "Items")
        first = schema.get("prefixItems", [])
        more = schema.get("items") or (None if first and least <= len(first) else _ANY)
        items: list[str] = []
        with self._inside(place):
            for index, part in enumerate(first[:most]):
                value = self._possible(part, needed=index < least)
                if value is None:
                    return parts.brackets(self.rules, items, None, (least, most))
                items.append(value)
            rest = self._possible(more, needed=least > len(first)) if most is None or most > len(first) else None
        return parts.brackets(self.rules, items, rest, (least, most))

    def _possible(self, place: Place | None, *, needed: bool) -> str | None:
        """The rule of a place's values; None where there are none and none is needed."""
        try:
            return self.value(place) if place else None
        except Impossible:
            if needed:
                raise
            return None

    def _string(self, place: Place, schema: Any) -> str:  # noqa: ANN401 - of any form
        content = self._content(place, schema)
        if content is None:
            return parts.string(self.rules, *self._bounds(place, schema, "Length"))
        kept = "pattern" if "pattern" in schema else "format"
        for name in schema.keys() & {"minLength", "maxLength", "format"} - {kept}:
            self.opener.leave(f"{place.pointer}/{name}")
        return parts.quoted(content)

    def _content(self, place: Place, schema: Any) -> str | None:  # noqa: ANN401 - of any form
        """What a pattern or a format says."""
        if "pattern" not in schema:
            return parts.FORMATS.get(schema.get("format", ""))
        try:
            return pattern_grammar(schema["pattern"])
        except NotPlain:
            self.opener.leave(f"{place.pointer}/pattern")
            return None

    def _bounds(self, place: Place, schema: Any, what: str) -> tuple[int, int | None]:  # noqa: ANN401 - of any form
        least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}")
        if most is not None and least > most:
            raise Impossible(place.pointer)
        if least > MOST_REPEATS:
            self.opener.leave(f"{place.pointer}/min{what}")
            least = 0
        if most is not None and most > MOST_REPEATS:
            self.opener.leave(f"{place.pointer}/max{what}")
            most = None
        return least, most


def _texts(schema: Any) -> list[str]:  # noqa: ANN401 - of any form
    """The values of `enum`, of the types that are named, as JSON."""
    types = with_integers(named_types(schema))
    return [as_json(value) for value in schema["enum"] if parts.type_of(value) in types]
