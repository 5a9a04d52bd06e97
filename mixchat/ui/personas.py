"""What `mixchat personas` shows.

Knows which fact stands where; refuses to know streams and files. Everything shown is cleaned.
"""

from collections.abc import Iterator, Sequence

from mixchat.store.personas import Listed, Persona
from mixchat.ui.by_width import ByWidth
from mixchat.ui.sanitize import single_line


def personas_table(personas: Sequence[Listed]) -> ByWidth:
    """A row for each persona, those with a mistake too."""
    rows = tuple((single_line(listed.name), *_cells(listed)) for listed in personas)
    return ByWidth(("name", "from", "description"), rows, frozenset({"from", "description"}))


def persona_lines(persona: Persona) -> str:
    """All of a persona: what it sets, and its texts as they are."""
    facts = "".join(f"{label:16}{single_line(value)}\n" for label, value in _facts(persona))
    texts = (("system", persona.values.get("system")), ("prompt", persona.prompt))
    return facts + "".join(f"\n{label}:\n{text}\n" for label, text in texts if text)


def _cells(listed: Listed) -> tuple[str, str]:
    if listed.persona is None:
        return "you", f"damaged: {single_line(listed.problem)}"
    return "mixchat" if listed.persona.shipped else "you", single_line(listed.persona.description)


def _facts(persona: Persona) -> Iterator[tuple[str, str]]:
    yield "name", persona.name
    if persona.description:
        yield "description", persona.description
    yield "path", str(persona.path)
    for name, value in persona.values.items():
        if name != "system":
            yield name, str(value)
