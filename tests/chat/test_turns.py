from mixchat.chat.messages import Message, Turn
from mixchat.chat.transcript import Transcript
from mixchat.chat.turns import told_by


def told(*messages: tuple[str, str]) -> tuple[Transcript, str]:
    return told_by([Message(role, text) for role, text in messages])  # type: ignore[arg-type]


def test_a_conversation_is_its_turns_and_what_is_said_last() -> None:
    messages = (("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"))
    assert told(*messages) == (Transcript("s", (Turn("a", "b"),)), "c")
    transcript, last = told(*messages)
    assert [(each.role, each.text) for each in transcript.messages(last)] == list(messages)


def test_messages_of_one_role_in_a_row_are_one() -> None:
    assert told(("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d"), ("user", "e"), ("user", "f")) == (
        Transcript("", (Turn("a\n\nb", "c\n\nd"),)),
        "e\n\nf",
    )
    assert told(("system", "s"), ("user", "a"), ("system", "t")) == (Transcript("s\n\nt"), "a")
