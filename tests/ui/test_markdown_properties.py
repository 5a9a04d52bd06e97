import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mixchat.ui.sanitize import columns
from tests.fakes.markdown import SGR, cut, lasting, long_answer, render

MARKS = (
    *(
        "*",
        "**",
        "_",
        "__",
        "`",
        "``",
        "```",
        "~~",
        "~~~",
        "[",
        "]",
        "(",
        ")",
        "](",
        "!",
        "![",
        "\\",
        "<",
        ">",
        "&",
        ";",
    ),
    *("\n", "\n\n", "  \n", "\r\n", "\r", " ", "  ", "    ", "\t", "- ", "* ", "1. ", "2) ", "# ", "### ", "> ", "|"),
    *("|---|:-:|\n", "| a | b |\n", "---", "===", ":", '"', "'", "http://a.b/c_d", "```python\n", 'x = """\n', "/* "),
    *("word", "x", "é", "中文", "。", "👩\u200d💻", "e\u0301", "\x1b[2J", "\x9b", "\u202e", "\u00a0"),
)
TEXTS = st.lists(st.sampled_from(MARKS) | st.text(max_size=5), max_size=60).map("".join)
WIDTHS = st.integers(1, 500) | st.integers(1, 20)


@given(TEXTS, st.lists(st.integers(1, 9), min_size=1, max_size=5), WIDTHS, st.booleans())
def test_pieces_change_nothing(text: str, sizes: list[int], width: int, colour: bool) -> None:
    streamed = render(cut(text, *sizes), width, colour=colour)
    assert lasting(streamed) == lasting(render(text, width, colour=colour))


@given(TEXTS, WIDTHS, st.booleans())
@example("- " * 50 + "x", 3, True)
@example("[a](" * 400 + "\n", 80, True)
@example("`" + "``" * 300 + "` ```", 80, False)
@example("**a _b [c " * 300, 80, True)
def test_no_escape_sequence_but_ours(text: str, width: int, colour: bool) -> None:
    output = lasting(render(text, width, colour=colour))
    plain = SGR.sub("", output)
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", plain) is None
    assert colour or plain == output
    assert output.endswith("\n") or not output
    codes = SGR.findall(output)
    assert codes[1::2] == ["\x1b[0m"] * (len(codes) // 2), "every style is closed before the next begins"
    assert "\x1b[0m" not in codes[::2]


@given(TEXTS, WIDTHS, st.booleans())
def test_nothing_is_lost_or_doubled(text: str, width: int, colour: bool) -> None:
    text = text.replace("&", "+").replace("|", "/").replace("](", "] (")
    shown = SGR.sub("", render(text, width, colour=colour))
    assert _letters(shown) == _letters(render("~~~\n" + text.replace("~~~", "+++") + "\n~~~", 500))


@given(TEXTS, WIDTHS)
def test_nothing_in_a_table_or_link_is_lost(text: str, width: int) -> None:
    text = text.replace("&", "+")
    shown = render(text, width)
    missing = [letter for letter in set(_letters(text)) if shown.count(letter) < text.count(letter)]
    assert not missing or "](" in text


@given(st.text(st.sampled_from("abc中 \n*-"), max_size=200), st.integers(2, 60))
def test_no_line_is_too_wide_unless_a_word_is(text: str, width: int) -> None:
    for line in render(text, width).splitlines():
        text = line.lstrip("- ")
        assert columns(line) <= width or " " not in text or max(columns(word) for word in text.split()) > width


@pytest.mark.parametrize("width", [1, 2, 3, 5, 10, 40, 80, 200, 500])
def test_every_width_shows_every_word_of_a_real_answer(width: int) -> None:
    answer = long_answer(2)
    shown = "".join(SGR.sub("", render(answer, width, colour=True)).split())
    words = re.findall(r"[a-zA-Z]+", answer)
    assert [word for word in words if word not in shown] == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_long_answer_streams_as_it_renders_at_once(size: int) -> None:
    answer = long_answer(4).replace("\n", "\r\n")
    assert lasting(render(cut(answer, size), 80, colour=True)) == lasting(render(answer, 80, colour=True))


def _letters(text: str) -> list[str]:
    return [char for char in text if char.isalnum()]
