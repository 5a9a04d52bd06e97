import codecs
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat import inputs
from mixchat.chat.inputs import decode_text, join_prompt, parse_messages, without_surrogates
from mixchat.chat.messages import Message
from mixchat.errors import UsageError

MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKS)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_with_a_byte_order_mark(encoding: str, text: str) -> None:
    assert decode_text(MARKS[encoding] + text.encode(encoding), "stdin") == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff")))
def test_utf_8_is_kept_as_it_is(text: str) -> None:
    assert decode_text(text.encode(), "stdin") == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"a\r\nb\rc\n\n", "a\r\nb\rc\n\n"),
        (b"\x1b[1mbold\x1b[0m\ttab\f\v\b", "\x1b[1mbold\x1b[0m\ttab\f\v\b"),
        ("café, déjà vu".encode("latin-1"), "café, déjà vu"),
        ("caf\xe9".encode("latin-1"), "café"),
        ("“smart” \u2013 5 €".encode("cp1252"), "“smart” \u2013 5 €"),
        ("日本語".encode()[:-1], "日本\ufffd"),
        ("日本語 and \ufffd".encode() + b"\xff", "日本語 and \ufffd\ufffd"),
        ("naïve".encode() + b" \xe9", "naïve \ufffd"),
        (b"one odd \x01 among the many characters of a line", "one odd \x01 among the many characters of a line"),
        (b"undefined \x81 byte", "undefined \ufffd byte"),
    ],
)
def test_text_is_decoded(data: bytes, text: str) -> None:
    assert decode_text(data, "stdin") == text


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x7fELF\x02\x01\x01\x00\x00", "notes.txt is binary"),
        (b"a" * 1000 + b"\0", "notes.txt is binary"),
        ("text".encode("utf-16-le"), "notes.txt is binary"),
        (b"\x01\x02\x03 abc", "notes.txt is binary"),
        (bytes(range(1, 256)) * 4, "notes.txt is binary"),
        (codecs.BOM_UTF16_LE + b"a\0\0\0b\0", "notes.txt is binary"),
        (codecs.BOM_UTF16_LE + b"a", "notes.txt begins as UTF-16-LE"),
        (codecs.BOM_UTF16_BE + b"\xd8\x00\x00a", "notes.txt begins as UTF-16-BE"),
        (codecs.BOM_UTF32_BE + b"\xff\xff\xff\xff", "notes.txt begins as UTF-32-BE"),
        (codecs.BOM_UTF8 + b"\xff", "notes.txt begins as UTF-8"),
    ],
)
def test_what_is_not_text_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode_text(data, "notes.txt")
    assert cause in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint


def test_random_bytes_are_not_text() -> None:
    data = random.Random(1).randbytes(4096).replace(b"\0", b"\1")
    with pytest.raises(UsageError):
        decode_text(data, "stdin")


@given(st.binary())
def test_any_bytes_become_text_that_can_be_encoded_or_are_refused(data: bytes) -> None:
    try:
        text = decode_text(data, "stdin")
    except UsageError:
        return
    text.encode()


def test_a_text_cut_at_any_byte_is_still_text() -> None:
    data = "Ünïcödé: 日本語 🙂 — ok".encode()
    for end in range(3, len(data)):
        text = decode_text(data[:end], "stdin")
        assert text.rstrip("\ufffd") == data[:end].decode("utf-8", "ignore")


@pytest.mark.parametrize(
    ("prompt", "piped", "joined"),
    [
        ("Summarise:", "text", "Summarise:\n\ntext"),
        ("Summarise:", "a\n\nb\r\n\n", "Summarise:\n\na\n\nb"),
        (" Summarise: \n", "  text  ", " Summarise: \n\n\n  text  "),
        ("Hi", None, "Hi"),
        ("Hi", "", "Hi"),
        ("Hi", " \n", "Hi"),
        (None, "text\n", "text"),
        ("  ", "text\n", "text"),
        ("a\udce9", "b", "a\ufffd\n\nb"),
    ],
)
def test_prompt_and_piped_text(prompt: str | None, piped: str | None, joined: str) -> None:
    assert join_prompt(prompt, piped) == joined


@pytest.mark.parametrize(("prompt", "piped"), [(None, None), ("", None), (" \t", "\n\n"), (None, "")])
def test_no_prompt_at_all(prompt: str | None, piped: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        join_prompt(prompt, piped)
    assert caught.value.exit_code == 2
    assert "mixchat ask" in caught.value.hint


def test_half_surrogates_become_replacement_characters() -> None:
    assert without_surrogates("a\ud800b\udfff🙂") == "a\ufffdb\ufffd🙂"


def test_messages_are_read() -> None:
    text = '[{"role": "system", "content": ""}, {"content": "Hi\\r\\n", "role": "user"}]'
    assert parse_messages(text) == (Message("system", ""), Message("user", "Hi\r\n"))


def test_surrogates_escaped_in_messages() -> None:
    text = '[{"role": "user", "content": "\\ud800 \\ud83d\\ude42"}]'
    assert parse_messages(text) == (Message("user", "\ufffd 🙂"),)


@given(st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1))
def test_any_messages_come_back(messages: list[Message]) -> None:
    text = json.dumps([{"role": message.role, "content": message.text} for message in messages])
    assert parse_messages(text) == tuple(messages)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "not JSON: line 1, column 1"),
        ("[\n{]", "not JSON: line 2, column 2"),
        ("{}", "not a list"),
        ("null", "not a list"),
        ('"x"', "not a list"),
        ("[]", "not a list with at least one"),
        ("[1]", "messages[0] is not an object"),
        ('[{"role": "user", "content": "x"}, []]', "messages[1] is not an object"),
        ("[{}]", "messages[0] has no 'role'"),
        ('[{"role": "user"}]', "messages[0] has no 'content'"),
        ('[{"role": "user", "content": "x", "name": "y"}]', "messages[0] has the unknown key 'name'"),
        ('[{"role": null, "content": "x"}]', "messages[0].role is not a string"),
        ('[{"role": "user", "content": null}]', "messages[0].content is not a string"),
        ('[{"role": "user", "content": [{"type": "text"}]}]', "messages[0].content is not a string"),
        ('[{"role": "tool", "content": "x"}]', "messages[0].role is 'tool', not system, user or assistant"),
        ('[{"role": "User\\u001b\\n", "content": "x"}]', "messages[0].role is 'User\\x1b\\n'"),
        (json.dumps([{"role": "x" * 1000, "content": "x"}]), "'" + "x" * 40 + "...'"),
        ("[" * 100_000, "too large"),
        ("[" + "9" * 5000 + "]", "too large"),
    ],
)
def test_what_is_wrong_in_messages_is_named(text: str, cause: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_messages(text)
    assert cause in caught.value.message
    assert '{"role": "user"' in caught.value.hint
    assert "\n" not in caught.value.message


def test_messages_cut_anywhere_are_refused() -> None:
    text = '[{"role": "user", "content": "a\\ud83d\\ude42"}]'
    for end in range(len(text)):
        with pytest.raises(UsageError):
            parse_messages(text[:end])


def test_the_caps_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps([{"role": "user", "content": "x"}] * 3)
    monkeypatch.setattr(inputs, "MAX_MESSAGES", 2)
    with pytest.raises(UsageError, match="3 messages"):
        parse_messages(text)
    monkeypatch.setattr(inputs, "MAX_MESSAGES_CHARS", len(text) - 1)
    with pytest.raises(UsageError, match="characters"):
        parse_messages(text)
