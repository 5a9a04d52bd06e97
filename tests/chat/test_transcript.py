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


def test_turns_that_are_left_out_stay_and_are_not_sent() -> None:
    turns = (Turn("a", "1"), Turn("lost", ""), Turn("b", "2"))
    transcript = Transcript("s", turns, left_out=1)
    assert transcript.answered == (turns[2],)
    assert [message.text for message in transcript.messages("next")] == ["s", "b", "2", "next"]
    assert Transcript("", turns, left_out=3).messages("next") == (Message("user", "next"),)


def test_a_summary_stands_behind_the_system_text() -> None:
    turns = (Turn("a", "1"), Turn("b", "2"))
    summed = Transcript("s", turns, 1, "They said a.")
    assert summed.messages()[0] == Message("system", "s\n\nSummary of the conversation before this:\nThey said a.")
    alone = Transcript("", turns, 1, "They said a.").messages()
    assert [message.role for message in alone] == ["system", "user", "assistant"]
    assert alone[0].text == "Summary of the conversation before this:\nThey said a."


def test_what_is_kept_of_a_windowed_conversation() -> None:
    turns = (Turn("a", "1"), Turn("b", "2"), Turn("c", "3"))
    transcript = Transcript("s", turns, 2, "a and b")
    assert transcript.kept(3) == transcript
    assert transcript.without_last() == transcript.kept(2) == Transcript("s", turns[:2], 2, "a and b")
    assert transcript.kept(1) == Transcript("s", turns[:1])
    assert transcript.kept(0) == Transcript("s")
    assert Transcript("s").without_last() == Transcript("s")
