import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.routing.classes import TokenClass, token_class


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (TokenClass.PUNCTUATION, [",", "):", " ==", ";\n", " (", "_", "$", "^", "…", "«", "'", "\u2019"]),
        (TokenClass.INDENTATION, ["\n", "\n\n", "    ", "\t", "\r\n", "  "]),
        (TokenClass.DIGITS, ["7", " 2024", "٣"]),
        (TokenClass.WORD, [" the", " naïve", " l'eau", "\nfoo", " e\u0301"]),
        (TokenClass.JOINED, ["ing", "'s", "def", "中文"]),
        (TokenClass.OTHER, ["", " ", "x1", "foo(", "<s>", "</s>", "<|im_start|>", "😀", "\ufffd", "3.5", "\x00"]),
    ],
)
def test_class_by_text(kind: TokenClass, texts: list[str]) -> None:
    assert {text: token_class(text) for text in texts} == dict.fromkeys(texts, kind)


@given(st.text())
def test_every_text_has_a_class(text: str) -> None:
    assert token_class(text) in TokenClass


@given(st.text(alphabet="abcxyz", min_size=1))
def test_a_leading_space_begins_a_word(text: str) -> None:
    assert (token_class(text), token_class(" " + text)) == (TokenClass.JOINED, TokenClass.WORD)
