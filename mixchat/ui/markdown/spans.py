"""Rules of CommonMark for single inline constructs.

Knows what a delimiter run may do, what a link's target is, and how both are shown; refuses to know what is open.
https://spec.commonmark.org/0.31.2/#inlines
"""

import re
import unicodedata
from html import unescape
from html.entities import html5
from typing import Final

from mixchat.ui.markdown.style import CODE, LINK, PLAIN, Piece
from mixchat.ui.sanitize import single_line

PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
"""What a backslash makes plain text of."""

LONGEST_ENTITY: Final = 33

_TARGET = re.compile(r" *(?:<([^<>]*)>|([^\s<]\S*|))( +(?:\"[^\"]*\"|'[^']*'))? *")
_TAG = re.compile(r"</?[a-zA-Z][^\s<>`*]*>")
_ENTITY = re.compile(r"&(#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|[a-zA-Z][a-zA-Z0-9]{1,31};)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def flanks(mark: str, before: str, after: str) -> tuple[bool, bool]:
    """Whether a run of `mark` between two characters (empty: none) can open, and whether it can close."""
    blank_before, blank_after = not before or before.isspace(), not after or after.isspace()
    mark_before, mark_after = _is_punctuation(before), _is_punctuation(after)
    left = not blank_after and (not mark_after or blank_before or mark_before)
    right = not blank_before and (not mark_before or blank_after or mark_after)
    if mark == "_":
        return left and (not right or mark_before), right and (not left or mark_after)
    return left, right


def is_tag(text: str) -> bool:
    """Whether this is a tag, or an address in angle brackets."""
    return _TAG.fullmatch(text) is not None


def decoded(text: str) -> str:
    """Replace entities by what they stand for; what could act on a terminal becomes a mark."""
    return _ENTITY.sub(lambda match: _decoded(match[0], match[1]), text)


def code_pieces(raw: str, ticks: int, keep_marks: bool) -> list[Piece]:
    """A code span between `ticks` backticks; line ends in it are blanks."""
    raw = raw.replace("\n", " ")
    if keep_marks:
        return [(raw, CODE)]
    text = raw[ticks:-ticks]
    if text.strip(" ") and text[0] == text[-1] == " ":
        text = text[1:-1]
    return [(text, CODE)]


def link_pieces(text: list[Piece], target: str) -> list[Piece] | None:
    """A link as its text and its address; None when this is no target.

    Args:
        text: What stands between the brackets.
        target: What stands between the parentheses.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        return None
    url = decoded(_ESCAPE.sub(r"\1", match[1] if match[1] is not None else match[2]))
    if not match[3] and "".join(piece for piece, _ in text) == url:
        return [(url, LINK)]
    blank: list[Piece] = [(" ", PLAIN)] if text else []
    return [*text, *blank, ("(", PLAIN), (url, LINK), (match[3] or "", PLAIN), (")", PLAIN)]


def _decoded(raw: str, name: str) -> str:
    if name[0] == "#" or name in html5:
        return single_line(unescape(raw)) or raw
    return raw


def _is_punctuation(char: str) -> bool:
    if char.isascii():
        return char in PUNCTUATION
    return unicodedata.category(char)[0] in "PS"
