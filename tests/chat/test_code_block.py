import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.code_block import FirstBlock

CASES = {
    "```\na\n```\n": "a\n",
    "Here:\n\n```python\nprint()\n```\nDone.\n```\nnot this\n```": "print()\n",
    "~~~\n```\nx\n```\n~~~": "```\nx\n```\n",
    "````\n```\n````": "```\n",
    "  ```\n    a\n b\n  ```": "  a\nb\n",
    "```\na\n    ```\nb\n```": "a\n    ```\nb\n",
    "```\na\n``` x\n```": "a\n``` x\n",
    "```\na": "a",
    "```\na\n``": "a\n``",
    "```\na\n```": "a\n",
    "```\n```": "",
    "```\r\na\r\n```\r\n": "a\r\n",
    "```\n\n\n```": "\n\n",
    "``` a`b\n```\nc\n```": "c\n",
    "```\n```python\nd\n```\n```": "d\n",
    "```\n``` ~\n~~~py\ne\n~~~": "e\n",
}


def extracted(text: str, size: int) -> tuple[str, bool]:
    block = FirstBlock()
    pieces = [block.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return "".join(pieces) + block.finish(), block.found


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("text", CASES)
def test_the_first_block_is_found_wherever_its_pieces_are_cut(text: str, size: int) -> None:
    assert extracted(text, size) == (CASES[text], True)


@pytest.mark.parametrize(
    "text", ["", "no code", "a ``` b\n", "    ```\nx\n    ```", "```python", "``\na\n``", "``` a`\n"]
)
def test_without_a_block_nothing_is_found(text: str) -> None:
    assert extracted(text, 3) == ("", False)


def test_what_is_certain_comes_at_once_and_the_end_is_told() -> None:
    block = FirstBlock()
    assert [block.feed(piece) for piece in ("```\nab", "c", "\n", "  ", "d\n`")] == ["ab", "c", "\n", "", "  d\n"]
    assert not block.closed
    assert [block.feed("``\nmore"), block.feed("\n```\nother\n```"), block.finish()] == ["", "", ""]
    assert block.closed


@given(st.text(alphabet="`~ \n\rab", max_size=60), st.integers(1, 7))
def test_the_cuts_make_no_difference(text: str, size: int) -> None:
    assert extracted(text, size) == extracted(text, 1000)
