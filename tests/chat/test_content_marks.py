from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.marks import defuse, dropped, mark, reconcile, split
from mixchat.chat.messages import Control, Message, Piece, Text

NONCE = "0123456789ab"
Template = Callable[[Sequence[Message]], str]


def chatml(messages: Sequence[Message], change: Callable[[str], str] = str) -> str:
    body = "".join(f"<|im_start|>{message.role}\n{change(message.text)}<|im_end|>\n" for message in messages)
    return body + "<|im_start|>assistant\n"


def pieces_of(template: Template, messages: Sequence[Message]) -> tuple[Piece, ...] | None:
    return split(template(mark(messages, NONCE)), messages, NONCE)


def joined(pieces: Sequence[Piece]) -> str:
    return "".join(piece.name if isinstance(piece, Control) else piece.text for piece in pieces)


TALK = (
    Message("system", "Be <|im_end|> brief."),
    Message("user", " Hi "),
    Message("assistant", "<think>hm</think>Ho"),
    Message("user", "So?\n"),
)


def test_a_content_is_text_and_the_rest_is_control() -> None:
    assert pieces_of(chatml, TALK[:2]) == (
        Control("<|im_start|>system\n"),
        Text("Be <|im_end|> brief."),
        Control("<|im_end|>\n<|im_start|>user\n"),
        Text(" Hi "),
        Control("<|im_end|>\n<|im_start|>assistant\n"),
    )


def test_contents_may_touch_and_stand_at_both_ends() -> None:
    pieces = pieces_of(lambda messages: "".join(message.text for message in messages), TALK[:2])
    assert pieces == (Text("Be <|im_end|> brief."), Text(" Hi "))
    assert reconcile(pieces, "Be <|im_end|> brief. Hi ") == pieces


@pytest.mark.parametrize("blank", ["", " ", "\n\t "])
def test_a_blank_content_is_seen_by_the_template(blank: str) -> None:
    messages = (Message("system", blank), Message("user", "x"))
    assert mark(messages, NONCE)[0] == messages[0]
    assert pieces_of(chatml, messages) == (
        Control(f"<|im_start|>system\n{blank}<|im_end|>\n<|im_start|>user\n"),
        Text("x"),
        Control("<|im_end|>\n<|im_start|>assistant\n"),
    )
    assert dropped("", messages, NONCE) == (1,)


def test_contents_may_be_reordered() -> None:
    pieces = pieces_of(lambda messages: chatml(tuple(reversed(messages))), TALK)
    assert pieces is not None
    assert [piece.text for piece in pieces if isinstance(piece, Text)] == [m.text for m in reversed(TALK)]


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.lower,
        str.title,
        str.swapcase,
        lambda text: text * 2,
        lambda text: text[:10],
        lambda text: text[1:],
        lambda text: text[:-1],
        lambda text: text[:0],
        lambda text: text.replace("n0", "n7"),
        lambda text: text.replace("n0", "n00"),
        lambda text: text.replace("n0z", f"n{'9' * 5000}z"),
        lambda text: ascii(text)[1:-1],
        lambda text: text + text[1:-1],
        lambda text: text + NONCE.upper(),
    ],
)
def test_a_changed_mark_is_noticed(change: Callable[[str], str]) -> None:
    assert pieces_of(lambda messages: chatml(messages, change), TALK[:1]) is None


def test_a_dropped_content_is_named() -> None:
    messages = [Message("system", "s"), *(Message("user", str(index)) for index in range(20))]

    def without(*indices: int) -> str:
        return "".join(m.text for index, m in enumerate(mark(messages, NONCE)) if index not in indices)

    assert dropped(without(), messages, NONCE) == ()
    assert dropped(without(0, 1, 12), messages, NONCE) == (0, 1, 12)
    assert split(without(0), messages, NONCE) is None


@pytest.mark.parametrize("change", [str.upper, str.lower, ascii])
def test_a_changed_content_is_not_called_dropped(change: Callable[[str], str]) -> None:
    assert dropped(chatml(mark(TALK, NONCE), change), TALK, NONCE) == ()


@pytest.mark.parametrize("nonce", ["", "0123", "0123456789AB", "0123456z", "01234567\n", "[0-9]{8}", "0" * 65])
def test_a_malformed_nonce_is_refused(nonce: str) -> None:
    with pytest.raises(ValueError, match="nonce"):
        mark(TALK, nonce)


@pytest.mark.parametrize("text", [NONCE, NONCE.upper(), f"\ue000mX{NONCE}n0z\ue001"])
def test_a_content_with_the_nonce_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nonce"):
        mark([Message("user", text)], NONCE)


MARKISH = st.text(alphabet="\ue000\ue001mXnz01 <|>\n") | st.just("\ue000mXfedcba9876n0z\ue001") | st.text()


@given(st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), MARKISH)))
def test_any_content_comes_back_unchanged(messages: list[Message]) -> None:
    nonce = "5f0e2d4c6b8a7913"
    pieces = split(chatml(mark(messages, nonce)), messages, nonce)
    assert pieces is not None
    assert joined(pieces) == chatml(messages)
    assert [piece.text for piece in pieces if isinstance(piece, Text)] == [m.text for m in messages if m.text.strip()]
    assert reconcile(pieces, chatml(messages)) == pieces


@pytest.mark.parametrize(
    "trim",
    [str.strip, str.lstrip, str.rstrip, lambda t: t.strip("\n"), lambda t: t.lstrip("\n"), lambda t: t.rstrip("\n")],
)
def test_contents_are_trimmed_as_the_template_trims_them(trim: Callable[[str], str]) -> None:
    messages = [Message("user", text) for text in ("\n  a \n\n", "b", "\n\nc", " d")]
    pieces = pieces_of(chatml, messages)
    assert pieces is not None
    settled = reconcile(pieces, chatml(messages, trim))
    assert settled is not None
    assert joined(settled) == chatml(messages, trim)
    assert [piece for piece in settled if isinstance(piece, Text)] == [Text(trim(m.text)) for m in messages]


def test_trimming_before_the_same_white_space() -> None:
    pieces = (Control("<"), Text("a\n"), Control("\n>"))
    assert reconcile(pieces, "<a\n>") == (Control("<"), Text("a"), Control("\n>"))
    assert reconcile(pieces, "<a\n\n>") == pieces


@pytest.mark.parametrize(
    "plain",
    [
        chatml(TALK, lambda text: text.split("</think>")[-1]),
        chatml(TALK, str.upper),
        chatml(TALK).replace("<|im_start|>assistant", "<|im_start|>other"),
        chatml(TALK) + "more",
        chatml(TALK)[:-1],
        "",
    ],
)
def test_a_template_that_looks_into_contents_is_noticed(plain: str) -> None:
    pieces = pieces_of(chatml, TALK)
    assert pieces is not None
    assert reconcile(pieces, plain) is None


@pytest.mark.parametrize(
    ("content", "tokens", "safe"),
    [
        ("plain", ["<s>"], "plain"),
        ("a <s> b", ["<s>", "</s>", "<unk>"], "a <\u200bs> b"),
        ("<<s>", ["<s>"], "<<\u200bs>"),
        ("</s></s>", ["</s>"], "<\u200b/s><\u200b/s>"),
        ("aba", ["ab", "ba"], "a\u200bb\u200ba"),
        ("aaa", ["aa"], "a\u200ba\u200ba"),
        ("a.c abc", ["a.c"], "a\u200b.c abc"),
        ("<|a|> <|b|>", ["<|a|>", "<|a|> <|b|>"], "<\u200b|a|> <|b|>"),
        ("x\x02y", ["\x02"], "x\u200by"),
        ("\x02\x03", ["\x02", "\x02\x03"], "\u200b\x03"),
        ("ab", ["ab", "a\u200bb"], "a\ue000b"),
        ("\u200b\u200b", ["\u200b\u200b", "\ue000"], "\u200b\ue001\u200b"),
        ("\n\n", ["\n\n"], "\n\u200b\n"),
        ("anything", [], "anything"),
        ("anything", [""], "anything"),
    ],
)
def test_control_tokens_are_defused(content: str, tokens: list[str], safe: str) -> None:
    assert defuse(content, tokens) == safe


SMALL = st.text(alphabet="ab<>\u200b\ue000", max_size=12)


@given(SMALL, st.lists(SMALL, max_size=5))
def test_a_defused_content_holds_no_control_token(content: str, tokens: list[str]) -> None:
    safe = defuse(content, tokens)
    assert not [token for token in tokens if token and token in safe]
    assert defuse(safe, tokens) == safe
    if not any(token in content for token in tokens if token):
        assert safe == content
