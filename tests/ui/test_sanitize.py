import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.ui.sanitize import clean, columns, single_line

CHARS = st.one_of(
    st.characters(),
    st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]),
    st.sampled_from("\x1b\x9b\x90\x07\r\n\t\u202e\u2066\ufeff\U000e0041\ud800"),
)
TEXTS = st.lists(CHARS).map("".join)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n\tb", "a\n\tb"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1b]52;c;aGk=\x1b\\", "␛]52;c;aGk=␛\\"),
        ("a\r\n\x00\x7f", "a␍\n␀␡"),
        ("\x9b31m\x85", "<U+009B>31m<U+0085>"),
        ("\u202eabc\u2069\u200f\u061c", "<U+202E>abc<U+2069><U+200F><U+061C>"),
        ("a\u2028b\u2029", "a<U+2028>b<U+2029>"),
        ("\u200b\ufeff\u2060\xad", "<U+200B><U+FEFF><U+2060><U+00AD>"),
        ("\U000e0041\U000e007f\U000e0000", "<U+E0041><U+E007F><U+E0000>"),
        ("\udc80", "<U+DC80>"),
        ("naïve 中文 🦜 [/INST] [bold]", "naïve 中文 🦜 [/INST] [bold]"),
        ("👩\u200d👩\u200d👧 ❤\ufe0f می\u200cشود", "👩\u200d👩\u200d👧 ❤\ufe0f می\u200cشود"),
    ],
)
def test_what_acts_on_a_terminal_is_shown(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(TEXTS, TEXTS)
def test_any_chunk_boundary_is_safe(first: str, second: str) -> None:
    assert clean(first + second) == clean(first) + clean(second)


@given(TEXTS)
def test_cleaning_again_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(TEXTS)
def test_no_active_character_is_left(text: str) -> None:
    left = {char for char in clean(text) if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert left <= {"\n", "\t", "\u200c", "\u200d"}


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("a\nb\tc", None, "a␊b␉c"),
        ("models/\x1b[2Jx.gguf", None, "models/␛[2Jx.gguf"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("中文中文", 6, "中文…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", 0, ""),
    ],
)
def test_a_title_takes_one_line(text: str, width: int | None, shown: str) -> None:
    assert single_line(text, width) == shown


@given(TEXTS, st.integers(0, 30))
def test_a_title_is_never_wider(text: str, width: int) -> None:
    assert columns(single_line(text, width)) <= width
