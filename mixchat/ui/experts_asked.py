"""What a person asks to see of a model's routing: which layers, and in which form of file.

Knows words and suffixes; refuses to know how anything is drawn.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mixchat.app.events import Opened
from mixchat.errors import UsageError
from mixchat.ui.experts_html import experts_html
from mixchat.ui.experts_svg import experts_svg
from mixchat.ui.experts_values import ExpertsView

ALL: Final = "all"
_LONGEST: Final = 4
_FORMS: Final[Mapping[str, Callable[[ExpertsView], str]]] = {".html": experts_html, ".svg": experts_svg}


def parse_layers(text: str | None, where: str) -> tuple[int, ...] | None:
    """Layers by their numbers; None: nobody said, or all.

    Args:
        text: Numbers with commas between them, or `all`.
        where: What the person wrote it behind.

    Raises:
        UsageError: It is neither.
    """
    if text is None or text.strip().lower() == ALL:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) <= _LONGEST for part in parts):
        raise UsageError(f"{where}: {text[:80]!r} are no layers.", "Write them like 0,15,31, or: all")
    return tuple(sorted({int(part) for part in parts}))


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
        raise UsageError(
            f"{where}: {opened.name} has no router in layer {', '.join(unknown)}.",
            f"Its routers are in layers {there[0]} to {there[-1]}.",
        )


def draw(view: ExpertsView, path: Path) -> str:
    """The contents of a file with that suffix.

    Raises:
        UsageError: There is no such form.
    """
    check_drawn(path)
    return _FORMS[path.suffix.lower()](view)


def check_drawn(path: Path) -> None:
    """Refuse a file of a form that nothing is drawn in.

    Raises:
        UsageError: It is one.
    """
    if not is_drawn(path):
        raise UsageError(f"{path.name} is no picture or page.", f"Name a file with {' or '.join(_FORMS)} behind it.")


def is_drawn(path: Path) -> bool:
    """Whether the suffix is one of a page or a picture."""
    return path.suffix.lower() in _FORMS
