"""Makes text that we did not write harmless on a terminal.

Knows which characters act on a terminal or hide in a text; refuses to know where the text came from.
"""

import re
import unicodedata

# Joiners spell emoji, and words in Persian and Indic scripts; they show nothing and move nothing.
_JOINERS = "\u200c\u200d"
_SUSPECT = re.compile(rf"[^\n\t -~{_JOINERS}]")
# Control, format and surrogate characters, line and paragraph separators.
_ACTIVE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_FIRST_TAG, _LAST_TAG = 0xE0000, 0xE007F
_PICTURES = 0x2400
_DELETE, _DELETE_PICTURE = "\x7f", "\u2421"
_END = "…"


def clean(text: str) -> str:
    r"""Show every character that could act on a terminal as a mark; LF and TAB pass.

    C0 controls become control pictures (`␛` for ESC), others their number (`<U+202E>`). Every character is judged by
    itself, so that `clean(a + b) == clean(a) + clean(b)`; and `clean(clean(x)) == clean(x)`.
    """
    return _SUSPECT.sub(lambda match: _visible(match[0]), text)


def single_line(text: str, width: int | None = None) -> str:
    """Clean a title or a path, with marks for LF and TAB too, and cut it to `width` columns."""
    # Every character takes a column at least: the rest would be cut in any case.
    text = text if width is None else text[: max(width, 0) + 1]
    line = clean(text).translate({ord(char): chr(_PICTURES + ord(char)) for char in "\n\t"})
    if width is None or columns(line) <= width:
        return line
    while line and columns(line) >= width:
        line = line[:-1]
    return (line + _END)[: max(width, 0)]


def columns(text: str) -> int:
    """Columns that a clean line takes at the most: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1 for char in text)


def _visible(char: str) -> str:
    code = ord(char)
    if char < " ":
        return chr(_PICTURES + code)
    if char == _DELETE:
        return _DELETE_PICTURE
    if unicodedata.category(char) in _ACTIVE or _FIRST_TAG <= code <= _LAST_TAG:
        return f"<U+{code:04X}>"
    return char
