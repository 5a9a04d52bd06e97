import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.ui.blocks import goes_on, is_open, quoted, unquoted, with_new_line


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("", False),
        ("a", False),
        ("a\\", True),
        ("a\\\\", False),
        ("a\\ ", False),
        ("a\\\nb", False),
        ('"""', True),
        ('""""', True),
        ('"""""', True),
        ('""""""', False),
        ('"""a\\', True),
        ('"""a"""', False),
        ('"""a""" ', False),
        ('"""a""" b', True),
        (' """a', False),
        ('a """', False),
    ],
)
def test_which_text_goes_on(text: str, more: bool) -> None:
    assert goes_on(text) == more
    assert is_open(text) == (more and text.startswith('"""'))


def test_a_new_line() -> None:
    assert with_new_line("a\\") == "a\n"
    assert with_new_line('"""a\\') == '"""a\\\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"""a"""', "a"),
        ('"""\na\nb\n"""', "a\nb"),
        ('"""\n\na\n\n"""\n ', "\na\n"),
        ('"""say """hi""" now"""', 'say """hi""" now'),
        ('"""open', '"""open'),
        ("a", "a"),
    ],
)
def test_the_message_of_a_block(text: str, message: str) -> None:
    assert unquoted(text) == message


@given(st.text(alphabet='"\\\n a'))
def test_what_is_quoted_is_sent_as_it_was(message: str) -> None:
    text = quoted(message)
    assert unquoted(text) == message
    assert not goes_on(text)
