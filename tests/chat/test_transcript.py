from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.messages import Message, Turn
from mixchat.chat.mistral import render
from mixchat.chat.transcript import Transcript

TURNS = st.builds(Turn, st.text(min_size=1), st.sampled_from(["", " ", "\n", "yes", " no"]), st.booleans())


def test_the_messages_of_a_conversation() -> None:
    transcript = Transcript("Be brief.").with_turn(Turn("Hi", "Hello")).with_turn(Turn("And", "so", interrupted=True))
    assert transcript.messages("Next") == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "And"),
        Message("assistant", "so"),
        Message("user", "Next"),
    )
    assert transcript.messages() == transcript.messages("Next")[:-1]


def test_an_empty_conversation() -> None:
    assert Transcript().messages() == ()
    assert Transcript().messages("Hi") == (Message("user", "Hi"),)
    assert Transcript().without_last() == Transcript()


def test_a_turn_without_an_answer_is_kept_and_not_sent() -> None:
    lost = Turn("Lost?", "", interrupted=True)
    transcript = Transcript().with_turn(Turn("Hi", "Hello")).with_turn(lost).with_turn(Turn("Blank?", " \n"))
    assert transcript.turns[1] == lost
    assert transcript.answered == (Turn("Hi", "Hello"),)
    assert [message.text for message in transcript.messages("Next")] == ["Hi", "Hello", "Next"]


def test_the_last_turn_is_taken_back() -> None:
    transcript = Transcript("s").with_turn(Turn("a", "b"))
    assert transcript.with_turn(Turn("c", "")).without_last() == transcript


@given(st.text(), st.lists(TURNS), st.text(min_size=1))
def test_users_and_assistant_always_alternate(system: str, turns: list[Turn], next_user: str) -> None:
    messages = Transcript(system, tuple(turns)).messages(next_user)
    spoken = [message.role for message in messages if message.role != "system"]
    assert spoken == ["user", "assistant"] * (len(spoken) // 2) + ["user"]
    assert messages[-1].text == next_user
    render(messages)
