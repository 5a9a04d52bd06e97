"""What `mixchat sessions` shows, to the letter."""

from dataclasses import replace
from datetime import UTC, datetime

from mixchat.chat.export import About
from mixchat.chat.journal import Answered, Asked, Dialogue, ModelChosen, SystemSet, Windowed, replay
from mixchat.chat.messages import Turn
from mixchat.store.session_index import Found, SessionInfo
from mixchat.ui.output import print_out
from mixchat.ui.sessions import (
    SessionTable,
    damage_line,
    found_table,
    removal_question,
    sessions_table,
    show_conversation,
)
from tests.fakes.streams import FakeStream

THEN = datetime(2026, 11, 22, 12, tzinfo=UTC)
ONE = SessionInfo("20261122-0455-k3f9", "rivers", "What is a river, and why?", THEN, THEN, 12, "mixtral", 51_300)
TWO = replace(ONE, id="20261121-0455-aaaa", name="", title="\x1b]0;x\x07 " + "long " * 30, turns=1)
THREE = replace(ONE, id="20261120-0455-bbbb", name="", title="", model="", turns=0, damaged=True)

WIDE = """\
session             last        turns  model    title
20261122-0455-k3f9  2026-11-22     12  mixtral  rivers: What is a river, and wh…
20261121-0455-aaaa  2026-11-22      1  mixtral  ␛]0;x␇ long long long long long…
20261120-0455-bbbb  2026-11-22      0  -        -
"""
NARROW = """\
20261122-0455-k3f9
  2026-11-22, 12 turns, mixtral
  rivers: What is a river, and why?
20261121-0455-aaaa
  2026-11-22, 1 turn, mixtral
  ␛]0;x␇ long long long long long long …
20261120-0455-bbbb
  2026-11-22, 0 turns
"""
CHAT = """\
system
Be brief.

you
What is a river?

mixtral (after 2 words of thinking)
Water [bold] [/INST].

summary of what is no longer in the prompt
Water was spoken of.

you
More\x1b[2J

demo (interrupted)
It fl

you (not answered)
And

"""


def drawn(table: SessionTable, width: int, *, terminal: bool = True) -> str:
    stream = FakeStream(terminal=terminal)
    print_out(stream, {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(width)}, table)
    return stream.written


def test_a_list_at_80_columns() -> None:
    assert drawn(sessions_table((ONE, TWO, THREE)), 80) == WIDE


def test_a_list_at_40_columns() -> None:
    assert drawn(sessions_table((ONE, TWO, THREE)), 40) == NARROW


def test_no_width_fails_and_none_is_exceeded() -> None:
    for width in (*range(1, 130), 500):
        lines = drawn(sessions_table((ONE, TWO, THREE)), width).splitlines()
        assert width < 20 or max(map(len, lines)) <= width


def test_a_piped_list_is_not_cut() -> None:
    piped = drawn(sessions_table((ONE, TWO)), 40, terminal=False)
    assert piped.splitlines()[1].endswith("  rivers: What is a river, and why?")
    assert "long " * 29 + "long" in piped


def test_a_long_model_is_cut() -> None:
    long = replace(ONE, model="hf:owner/repository-GGUF:Q4_K_M")
    assert "  hf:owner/repo…  " in drawn(sessions_table((long,)), 80)


def test_where_words_were_found() -> None:
    text = drawn(found_table((Found(ONE, "…the Elbe flows…"),)), 80)
    assert text.splitlines() == [
        "session             last        turns  model    found",
        "20261122-0455-k3f9  2026-11-22     12  mixtral  …the Elbe flows…",
    ]


def test_questions_and_damage() -> None:
    assert removal_question((ONE,)) == "Remove 20261122-0455-k3f9 (rivers: What is a river, and why?, 50.1 KiB)?"
    assert removal_question((THREE,)) == "Remove 20261120-0455-bbbb (50.1 KiB)?"
    several = removal_question((ONE, TWO))
    assert several == "Remove 2 sessions (20261122-0455-k3f9, 20261121-0455-aaaa; 100.2 KiB)?"
    assert "\x1b" not in removal_question((TWO,))
    assert damage_line(THREE).startswith("20261120-0455-bbbb is damaged; mixchat sessions show 20261120-0455-bbbb")


def conversation() -> Dialogue:
    return replay(
        [
            SystemSet("Be brief."),
            ModelChosen("demo"),
            Answered(0, Turn("What is a river?", "Water [bold] [/INST].\n", thinking="hm hm")),
            Answered(1, Turn("More\x1b[2J", "It fl", interrupted=True)),
            Windowed(1, "Water was spoken of."),
            Asked("And"),
        ]
    )


def shown(dialogue: Dialogue, *, terminal: bool, colour: bool = False) -> str:
    stream = FakeStream(terminal=terminal)
    environ = {"TERM": "xterm"} | ({} if colour else {"NO_COLOR": "1"})
    show_conversation(stream, environ, dialogue, About(models=("mixtral",)))
    return stream.written


def test_a_chat_in_a_pipe_is_as_it_is_and_on_a_terminal_cleaned() -> None:
    assert shown(conversation(), terminal=False) == CHAT
    assert shown(conversation(), terminal=True) == CHAT.replace("\x1b", "␛")
    assert shown(Dialogue(), terminal=False) == ""


def test_who_speaks_is_coloured() -> None:
    text = shown(conversation(), terminal=True, colour=True)
    assert "\x1b[36myou\x1b[0m\nWhat is a river?\n" in text
    assert "\x1b[1mdemo (interrupted)\x1b[0m\n" in text
    assert "\x1b[2J" not in text
