"""What a person asks to see of a model's routing: which layers, and in which form of file.

Knows words and suffixes; refuses to know how anything is drawn.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mixchat.app.events import Opened
from mixchat.errors import UsageError
from mixchat.ui.experts_facts import experts_json
from mixchat.ui.experts_html import experts_html
from mixchat.ui.experts_svg import experts_svg
from mixchat.ui.experts_values import ExpertsView

ALL: Final = "all"
_RANGE: Final = re.compile(r"([0-9]{1,4})\s*(?:-\s*([0-9]{1,4}))?")
_MOST_NAMED: Final = 3
_FORMS: Final[Mapping[str, Callable[[ExpertsView], str]]] = {
    ".html": experts_html,
    ".svg": experts_svg,
    ".json": experts_json,
}


def parse_layers(text: str | None, where: str, *, or_file: bool = False) -> tuple[int, ...] | None:
    """Layers by their numbers, in rising order; None: nobody said, or all.

    Args:
        text: Numbers and ranges (`4-7`, both ends included) with commas between them, or `all`.
        where: What the person wrote it behind.
        or_file: A file could stand there too.

    Raises:
        UsageError: It is neither.
    """
    if text is None or asks_for_all(text):
        return None
    ranges = [_layers_of(part.strip()) for part in text.split(",")]
    if not all(ranges):
        file = f", or a file that ends in {_one_of(list(_FORMS))}" if or_file else ""
        raise UsageError(f"{where}: {text[:80]!r} names no layers.", f"Give them like 0,15,31 or 0-5, or all{file}.")
    return tuple(sorted({layer for part in ranges for layer in part}))


def _layers_of(part: str) -> range:
    """Nothing for what is no range, or for one from a higher to a lower number."""
    found = _RANGE.fullmatch(part)
    return range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)


def asks_for_all(text: str | None) -> bool:
    """Whether every layer is wanted."""
    return text is not None and text.strip().lower() == ALL


def check_layers(layers: tuple[int, ...] | None, opened: Opened, where: str) -> None:
    """Refuse layers that have no router.

    Raises:
        UsageError: There are some among those that were asked for.
    """
    there = [layer.index for layer in opened.model.layers if layer.experts]
    unknown = [str(layer) for layer in layers or () if layer not in there]
    if unknown and there:
        s = "s" if len(unknown) > 1 else ""
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        raise UsageError(
            f"{where}: {opened.name} has no router in layer{s} {', '.join(unknown[:_MOST_NAMED])}{more}.",
            f"Its routers are in layers {there[0]} to {there[-1]}.",
        )


def written(view: ExpertsView, path: Path, form: str | None = None) -> str:
    """The contents of a file.

    Args:
        view: What it shows.
        path: Its name; the suffix says in which form.
        form: `.html`, `.svg` or `.json`, whatever the name.

    Raises:
        UsageError: There is no such form.
    """
    write = _FORMS.get(form or path.suffix.lower())
    if write is None:
        raise no_form(path.name)
    return write(view)


def has_form(path: Path) -> bool:
    """Whether the suffix is one that something can be written with."""
    return path.suffix.lower() in _FORMS


def no_form(what: str) -> UsageError:
    """The error for a name whose suffix is none of those."""
    return UsageError(f"{what} has no known form.", f"End it in {_one_of(list(_FORMS))}.")


def _one_of(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
