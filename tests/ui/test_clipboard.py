import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mixchat.errors import UsageError
from mixchat.ui.clipboard import MOST_BYTES, code_blocks, copied_line, last_code, multiplexer, osc52

XTERM = {"TERM": "xterm-256color"}
TMUX = {"TERM": "screen-256color", "TMUX": "/tmp/tmux-1/default,1,0"}
SCREEN = {"TERM": "screen.xterm-256color", "STY": "1.pts-0.host"}


def test_a_text_goes_to_the_terminal_in_base64() -> None:
    assert osc52("hello ü", XTERM) == "\x1b]52;c;aGVsbG8gw7w=\x07"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_nothing_of_the_text_itself_is_written(text: str) -> None:
    found = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07", osc52(text, XTERM))
    assert found is not None
    assert base64.b64decode(found[1]).decode() == text


def test_tmux_gets_it_plain_and_wrapped() -> None:
    plain = osc52("hello", XTERM)
    assert osc52("hello", TMUX) == plain + "\x1bPtmux;\x1b" + plain + "\x1b\\"


@pytest.mark.parametrize("size", [1, 500, MOST_BYTES])
def test_screen_gets_it_in_small_pieces(size: int) -> None:
    pieces = re.findall(r"\x1bP([^\x1b]*(?:\x1b\][^\x1b]*)?)\x1b\\", osc52("x" * size, SCREEN))
    assert "".join(pieces) == osc52("x" * size, XTERM)
    assert max(map(len, pieces)) <= 240


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (XTERM, None),
        ({}, None),
        (TMUX, "tmux"),
        ({"TERM": "tmux-256color"}, "tmux"),
        (TMUX | {"STY": "1.pts-0.host"}, "tmux"),
        (SCREEN, "screen"),
        (SCREEN | {"TMUX": "/tmp/tmux-1/default,1,0"}, "screen"),
        ({"TERM": "screen"}, "screen"),
        ({"TERM": "vt100", "STY": "1.pts-0.host"}, "screen"),
    ],
)
def test_what_stands_between(environ: dict[str, str], expected: str | None) -> None:
    assert multiplexer(environ) == expected


def test_the_longest_text_makes_100_000_bytes() -> None:
    assert len(osc52("x" * MOST_BYTES, XTERM)) == 100_000
    with pytest.raises(UsageError, match=r"74,995 bytes are more than terminals copy \(74,994\)\.") as caught:
        osc52("x" * (MOST_BYTES + 1), XTERM)
    assert "/export" in caught.value.hint
    with pytest.raises(UsageError, match="74,996 bytes"):
        osc52("ü" * (MOST_BYTES // 2 + 1), XTERM)


def test_what_cannot_be_copied_is_said() -> None:
    with pytest.raises(UsageError, match="nothing to copy"):
        osc52("", XTERM)
    with pytest.raises(UsageError, match="TERM says that it is dumb"):
        osc52("x", {"TERM": "dumb"})


def test_what_is_said_after_it() -> None:
    assert copied_line("x", XTERM) == "Sent 1 character to the terminal's clipboard."
    assert copied_line("x" * 1234, SCREEN) == "Sent 1,234 characters to the terminal's clipboard."
    assert copied_line("xy", TMUX) == (
        "Sent 2 characters to the terminal's clipboard; tmux needs `set -s set-clipboard on` for that."
    )


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("", ()),
        ("no code, `one` word\n", ()),
        ("a\n```python\nx = 1\n\ny = 2\n```\nb", ("x = 1\n\ny = 2\n",)),
        ("```\na\n```\n~~~ sh\nb\n~~~\n", ("a\n", "b\n")),
        ("````\n```\nin\n```\n````", ("```\nin\n```\n",)),
        ("~~~\n```\n~~~", ("```\n",)),
        ("```\nnever closed", ("never closed\n",)),
        ("```\nnever closed\n", ("never closed\n",)),
        ("```", ("",)),
        ("```\n```\n```\n", ("", "")),
        ("```a`b\nno fence\n", ()),
        ("1. do\n\n   ```sh\n   ls\n     -l\n   ```\n", ("ls\n  -l\n",)),
        ("- a\n  - b\n      ```\n      x\n    y\n      ```", ("x\ny\n",)),
        ("```\na\n    ```\nb\n   ```\n", ("a\n    ```\nb\n",)),
        ("```\r\na\r\n```\r\n", ("a\n",)),
    ],
)
def test_code_blocks(markdown: str, expected: tuple[str, ...]) -> None:
    assert code_blocks(markdown) == expected


LINES = st.lists(
    st.sampled_from(["```", "````", "~~~", "~~~~", "  ```", "```py", "```a`b", "text", "  text", "", "``"]), max_size=12
)


@given(LINES)
def test_code_blocks_are_those_of_commonmark(lines: list[str]) -> None:
    markdown = "".join(f"{line}\n" for line in ("x", *lines))
    fences = [token for token in MarkdownIt("commonmark").parse(markdown) if token.type == "fence"]
    assert code_blocks(markdown) == tuple(token.content for token in fences)


def test_the_last_block_is_copied_without_the_line_end_that_would_run_it() -> None:
    assert last_code("```\na\n```\n```\nrm -rf x\n```\n") == "rm -rf x"
    with pytest.raises(UsageError, match="no code block"):
        last_code("none")
