import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.ui.pastes import Pastes

LONG = "".join(f"line {number}\n" for number in range(120))


@pytest.mark.parametrize("text", ["", "a", "a\nb\n", "\n" * 8, "x" * 800, "\x1b[2J\x00[pasted]"])
def test_short_ones_stay(text: str) -> None:
    assert Pastes().taken(text) == text


@pytest.mark.parametrize(
    ("text", "placeholder"),
    [
        (LONG, "[pasted #1: 120 lines]"),
        ("\n" * 9, "[pasted #1: 9 lines]"),
        ("x" * 801, "[pasted #1: 801 characters]"),
        ("x" * 801 + "\n", "[pasted #1: 802 characters]"),
        ('"""doc"""', "[pasted #1: 9 characters]"),
        ("cd a \\", "[pasted #1: 6 characters]"),
        ("[pasted #1: 120 lines]", "[pasted #1: 22 characters]"),
    ],
)
def test_long_and_misleading_ones_are_folded(text: str, placeholder: str) -> None:
    pastes = Pastes()
    assert pastes.taken(text) == placeholder
    assert pastes.whole(f"a {placeholder}{placeholder} b") == f"a {text}{text} b"


def test_line_ends_become_lf() -> None:
    pastes = Pastes()
    assert pastes.taken("a\r\nb\rc\n") == "a\nb\nc\n"
    assert pastes.whole(pastes.taken("a\r\n" * 20)) == "a\n" * 20


def test_the_same_paste_has_one_placeholder_and_another_has_another() -> None:
    pastes = Pastes()
    assert [pastes.taken(text) for text in (LONG, LONG + "!", LONG)] == [
        "[pasted #1: 120 lines]",
        "[pasted #2: 121 lines]",
        "[pasted #1: 120 lines]",
    ]


def test_what_is_no_placeholder_stays() -> None:
    pastes = Pastes()
    pastes.taken(LONG)
    for text in ("[pasted #1: 120 line]", "[pasted #1: 119 lines]", "pasted #1: 120 lines]", "[pasted #2: 120 lines]"):
        assert pastes.whole(text) == text


def test_a_paste_that_holds_placeholders_is_not_replaced_in() -> None:
    pastes = Pastes()
    first = pastes.taken(LONG)
    second = pastes.taken(f"{first} [pasted #2: 22 characters]")
    assert pastes.whole(f"{second} {first}") == f"{first} [pasted #2: 22 characters] {LONG}"


@given(st.lists(st.sampled_from(["a", LONG, LONG + "!", "[pasted #2: 22 characters]", "x" * 900, "\n"]), max_size=6))
def test_what_is_refolded_is_whole_again(parts: list[str]) -> None:
    pastes = Pastes()
    for part in parts:
        pastes.taken(part)
    text = "".join(part for part in parts if not part.startswith("["))
    folded = pastes.refolded(text)
    assert pastes.whole(folded) == text
    assert len(folded) <= 60 * max(len(parts), 1)
