import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mixchat.ui.markdown.inline import REACH, Inline
from mixchat.ui.markdown.style import BOLD, CODE, ITALIC, LINK, PLAIN, STRIKE, Piece

STYLES = {"strong": BOLD, "em": ITALIC, "s": STRIKE}
MARKS = ("*", "**", "***", "_", "__", "`", "``", "a", "b c", " ", ".", "(", "é", "“", "\\", "\u00a0")


def parsed(text: str, *, keep_marks: bool = False) -> list[Piece]:
    """The text as pieces, neighbours of the same style in one."""
    pieces: list[Piece] = []

    def sink(piece: str, style: int) -> None:
        if pieces and pieces[-1][1] == style:
            pieces[-1] = (pieces[-1][0] + piece, style)
        elif piece:
            pieces.append((piece, style))

    inline = Inline(sink, keep_marks=keep_marks)
    for char in text:
        inline.feed(char)
    inline.end()
    return pieces


def by_the_reference(text: str) -> list[Piece]:
    """The same by another implementation of CommonMark."""
    pieces: list[Piece] = []
    depths = dict.fromkeys(STYLES.values(), 0)
    for token in MarkdownIt("commonmark").enable("strikethrough").parseInline(text)[0].children or ():
        kind = token.type.removesuffix("_open").removesuffix("_close")
        if kind in STYLES:
            depths[STYLES[kind]] += token.nesting
            continue
        style = sum(style for style, depth in depths.items() if depth)
        piece = (_text(token), style | (CODE if kind == "code_inline" else PLAIN))
        if pieces and pieces[-1][1] == piece[1]:
            piece = (pieces.pop()[0] + piece[0], piece[1])
        if piece[0]:
            pieces.append(piece)
    return pieces


def _text(token: Token) -> str:
    return "\n" if token.type in {"softbreak", "hardbreak"} else token.content


@given(st.lists(st.sampled_from(MARKS), max_size=30).map("".join))
@example("**a*b**c*")
@example("***a** b*")
@example("*a **b*** c")
def test_emphasis_and_code_are_those_of_another_implementation(text: str) -> None:
    text = f"x{text}x"
    assert parsed(text) == by_the_reference(text)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a ~~b~~ c", [("a ", 0), ("b", STRIKE), (" c", 0)]),
        ("~a~ ~~~b~~~", [("~a~ ~~~b~~~", 0)]),
        ("**a `b** c`", [("**a ", 0), ("b** c", CODE)]),
        ("**x [0, 1)** y", [("x [0, 1)", BOLD), (" y", 0)]),
        ("**[a](b)**", [("a (", BOLD), ("b", BOLD | LINK), (")", BOLD)]),
        ("[**a**](b)", [("a", BOLD), (" (", 0), ("b", LINK), (")", 0)]),
        ("[*a](b) c*", [("*a (", 0), ("b", LINK), (") c*", 0)]),
        ("[*a] b* c", [("[", 0), ("a] b", ITALIC), (" c", 0)]),
        ("[a](<b c>)", [("a (", 0), ("b c", LINK), (")", 0)]),
        ("[a]( b )", [("a (", 0), ("b", LINK), (")", 0)]),
        ("[a](b(c)d\\)e&amp;f)", [("a (", 0), ("b(c)d)e&f", LINK), (")", 0)]),
        ("[a](b 'c)d')", [("a (", 0), ("b", LINK), (" 'c)d')", 0)]),
        ("[a](b 'c' d)", [("[a](b 'c' d)", 0)]),
        ('[a](b "c)', [('[a](b "c)', 0)]),
        ("[a](b\nc)", [("[a](b\nc)", 0)]),
        ("[](b)", [("(", 0), ("b", LINK), (")", 0)]),
        ("![a][b] ! !", [("![a][b] ! !", 0)]),
        ("[![a](b)](c)", [("a (", 0), ("b", LINK), (") (", 0), ("c", LINK), (")", 0)]),
        ("a &lt;b&gt; &#65;&#x42; &#10; &bad; &amp &;", [("a <b> AB ␊ &bad; &amp &;", 0)]),
        ("&#x1b;[2J &#x81; &#0; &#x202e;", [("&#x1b;[2J <U+0081> \ufffd <U+202E>", 0)]),
        ("<a_b_c href> <https://a.b/_c_> a<b*c*", [("<a_b_c href> <https://a.b/_c_> a<b", 0), ("c", ITALIC)]),
        ("\\*a\\* \\a \\\\ \\", [("*a* \\a \\ \\", 0)]),
        ("` a ` `  ` `` ` ``", [("a", CODE), (" ", 0), ("  ", CODE), (" ", 0), ("`", CODE)]),
        ("`a\nb`", [("a b", CODE)]),
    ],
)
def test_constructs(text: str, pieces: list[Piece]) -> None:
    assert parsed(text) == pieces


def test_without_styles_the_marks_stay() -> None:
    text = "**a** __b__ *c* ***d*** `` e ` f `` ~~g~~"
    assert parsed(text, keep_marks=True)[0][0].startswith("**a** __b__ *c* ***d*** ")
    assert "".join(piece for piece, _ in parsed(text, keep_marks=True)) == text


@pytest.mark.parametrize("length", [REACH - 5, *range(REACH - 2, REACH + 4)])
@pytest.mark.parametrize(("opening", "closing"), [("**", "**"), ("[", "](u)"), ("`", "`"), ("<a", ">")])
def test_beyond_its_reach_a_mark_is_text(opening: str, closing: str, length: int) -> None:
    text = opening + "x" * length + closing
    pieces = parsed(text)
    assert sum(piece.count("x") for piece, _ in pieces) == length
    if length < REACH - 4 and opening != "<a":
        assert pieces[0] != (text, PLAIN)
    if length > REACH:
        assert pieces == [(text, PLAIN)]


def test_a_long_address_is_still_a_link() -> None:
    url = "https://example.org/" + "x" * 1500
    assert parsed(f"[a]({url})") == [("a (", PLAIN), (url, LINK), (")", PLAIN)]
    assert parsed(f"[a]({url * 2})") == [(f"[a]({url * 2})", PLAIN)]
