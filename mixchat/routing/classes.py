"""Knows which class a token belongs to by its text alone; refuses to know tokenizers, languages and neighbours."""

import unicodedata
from collections.abc import Callable
from enum import StrEnum


class TokenClass(StrEnum):
    """What a token is made of.

    - `PUNCTUATION`: marks and operators only: `,` `):` ` ==` `;⏎`
    - `INDENTATION`: whitespace only, with a line break or a tab in it or two characters at least
    - `DIGITS`: decimal digits only: `7` ` 2024`
    - `WORD`: letters after a space: it begins a word
    - `JOINED`: letters that follow the token before without a space: the rest of a word, or a word right after a
      bracket or a line break, which a token's own text cannot tell apart; scripts without spaces too
    - `OTHER`: mixtures (`x1`, `foo(`), a single space, emoji, control tokens (`<s>`), parts of a character, no text
    """

    PUNCTUATION = "punctuation"
    INDENTATION = "indentation"
    DIGITS = "digits"
    WORD = "word"
    JOINED = "joined"
    OTHER = "other"


MARKS = ("P", "Sm", "Sc", "Sk")
LETTERS = ("L", "M")
APOSTROPHES = "'\u2019"


def token_class(text: str) -> TokenClass:
    """The class of a token with this text, as llama.cpp's detokenizer gives it: a leading space is part of it.

    Whitespace around marks, digits and letters does not count. Letters are Unicode's categories L and M and may have
    apostrophes (`'s`); marks are P, Sm, Sc and Sk.
    """
    body = text.strip()
    if not body:
        return TokenClass.INDENTATION if _indents(text) else TokenClass.OTHER
    if body.isdecimal():
        return TokenClass.DIGITS
    if _all(body, _is_mark):
        return TokenClass.PUNCTUATION
    if _all(body, _is_letter):
        return TokenClass.WORD if text[0].isspace() else TokenClass.JOINED
    return TokenClass.OTHER


def _indents(space: str) -> bool:
    return len(space) > 1 or space in {"\n", "\t"}


def _all(text: str, test: Callable[[str], bool]) -> bool:
    return all(map(test, text))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith(MARKS)


def _is_letter(character: str) -> bool:
    return character in APOSTROPHES or unicodedata.category(character).startswith(LETTERS)
