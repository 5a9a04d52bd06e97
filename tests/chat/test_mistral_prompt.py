import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.messages import Control, Message, Piece, Role, Text
from mixchat.chat.mistral import BOS, EOS, ReplySpace, render, strip_reply_space, warnings
from mixchat.chat.order import check_order
from mixchat.errors import UsageError

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "mistral_v1_prompts.json").read_text(encoding="utf-8"))


def said(*messages: tuple[str, str]) -> list[Message]:
    roles: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}
    return [Message(roles[role], text) for role, text in messages]


def as_decoded(pieces: tuple[Piece, ...]) -> str:
    """The text that SentencePiece decodes: each segment begins with the space that its tokenizer puts there."""
    return "".join(piece.name if isinstance(piece, Control) else f" {piece.text}" for piece in pieces)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["name"]))
def test_golden_conversations(case: dict[str, object]) -> None:
    raw = case["messages"]
    assert isinstance(raw, list)
    messages = [Message(item["role"], item["content"]) for item in raw]
    assert as_decoded(render(messages)) == case["text"]


def test_there_are_all_golden_cases() -> None:
    assert len(GOLDEN) == 15


def test_segments_are_separate_pieces() -> None:
    messages = said(("s", "Be kind."), ("u", " Hi "), ("a", "\nHo"), ("u", "So?"))
    assert render(messages) == (
        Control("<s>"),
        Text("[INST] Be kind.\n\n Hi  [/INST]"),
        Text("\nHo"),
        Control("</s>"),
        Text("[INST] So? [/INST]"),
    )


@pytest.mark.parametrize(
    ("messages", "segments"),
    [
        (said(("u", "")), ["[INST]  [/INST]"]),
        (said(("u", "</s>")), ["[INST] </s> [/INST]"]),
        (said(("s", " "), ("u", "x")), ["[INST]  \n\nx [/INST]"]),
        (said(("s", "a"), ("s", ""), ("s", "b"), ("u", "x")), ["[INST] a\n\nb\n\nx [/INST]"]),
        (said(("u", "a"), ("u", ""), ("u", "b")), ["[INST] a\n\nb [/INST]"]),
        (said(("u", ""), ("u", "b")), ["[INST] b [/INST]"]),
        (said(("u", "a"), ("s", "s"), ("u", "b")), ["[INST] s\n\na [/INST]", "[INST] b [/INST]"]),
        (said(("u", "a"), ("s", "s"), ("a", "b"), ("u", "c")), ["[INST] s\n\na [/INST]", "b", "[INST] c [/INST]"]),
        (said(("u", "a"), ("a", "b"), ("a", "c"), ("u", "d")), ["[INST] a [/INST]", "b\n\nc", "[INST] d [/INST]"]),
        (
            said(("u", "a"), ("a", "b"), ("u", "c"), ("s", "s"), ("u", "d")),
            ["[INST] s\n\na [/INST]", "b", "[INST] c [/INST]", "[INST] d [/INST]"],
        ),
    ],
)
def test_joining(messages: list[Message], segments: list[str]) -> None:
    assert [piece.text for piece in render(messages) if isinstance(piece, Text)] == segments


@pytest.mark.parametrize(
    ("messages", "cause"),
    [
        ([], "no user message"),
        (said(("s", "x")), "no user message"),
        (said(("a", "x"), ("u", "y")), "begins with the assistant"),
        (said(("s", "x"), ("a", "x"), ("u", "y")), "begins with the assistant"),
        (said(("u", "x"), ("a", "y")), "ends with a message of the role assistant"),
        (said(("u", "x"), ("s", "y")), "ends with a message of the role system"),
        (said(("u", "x"), ("a", ""), ("u", "y")), "messages[1], an answer of the assistant, is empty"),
        (said(("u", "x"), ("a", "y"), ("s", "z"), ("u", "y")), "messages[2] has the role system and follows"),
    ],
)
def test_what_cannot_be_expressed_is_refused(messages: list[Message], cause: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(messages)
    assert cause in caught.value.message
    assert caught.value.hint


def test_the_order_check_lets_other_formats_have_a_system_message_anywhere() -> None:
    check_order(said(("u", "x"), ("a", ""), ("s", "z"), ("u", "y")))


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1))), st.text(min_size=1), st.text())
def test_nothing_is_lost_or_changed(turns: list[tuple[str, str]], last: str, system: str) -> None:
    messages = [Message("system", system)]
    for user, assistant in turns:
        messages += [Message("user", user), Message("assistant", assistant)]
    pieces = render([*messages, Message("user", last)])

    front = f"{system}\n\n" if system else ""
    expected: list[Piece] = [BOS]
    for user, assistant in turns:
        expected += [Text(f"[INST] {front}{user} [/INST]"), Text(assistant), EOS]
        front = ""
    assert pieces == (*expected, Text(f"[INST] {front}{last} [/INST]"))


@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_longer_conversation_keeps_the_prompt_before_it(users: list[str]) -> None:
    messages: list[Message] = []
    before: tuple[Piece, ...] = ()
    for user in users:
        messages.append(Message("user", user))
        pieces = render(messages)
        assert pieces[: len(before)] == before
        messages.append(Message("assistant", "ok"))
        before = (*pieces, Text("ok"), EOS)


def test_typed_marks_are_told_once() -> None:
    assert warnings(said(("s", "plain"), ("u", "INST"))) == ()
    assert warnings(said(("u", "about [/INST]"))) == warnings(said(("s", "[INST]"), ("u", "[INST]"), ("u", "[/INST]")))
    (line,) = warnings(said(("u", "[INST]")))
    assert "\n" not in line


@pytest.mark.parametrize(
    ("reply", "kept"), [(" Hi", "Hi"), ("  Hi", " Hi"), ("Hi ", "Hi "), ("\n Hi", "\n Hi"), (" ", ""), ("", "")]
)
def test_exactly_one_leading_space_is_stripped(reply: str, kept: str) -> None:
    assert strip_reply_space(reply) == kept


@given(st.lists(st.text(alphabet=" \nx", max_size=3)))
def test_the_leading_space_of_a_stream(chunks: list[str]) -> None:
    space = ReplySpace()
    assert "".join(map(space.feed, chunks)) == strip_reply_space("".join(chunks))
