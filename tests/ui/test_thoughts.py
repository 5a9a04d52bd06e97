from collections.abc import Callable, Mapping

import pytest

from mixchat.ui.answer import AnswerWriter
from mixchat.ui.markdown import MarkdownWriter
from tests.fakes.streams import FakeStream

ERASE = "\r\x1b[2K"
COLOURED = {"TERM": "xterm", "COLUMNS": "80", "LANG": "C.UTF-8"}
WRITERS = [AnswerWriter, MarkdownWriter]
Make = Callable[..., AnswerWriter | MarkdownWriter]


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def thinking(make: Make, environ: Mapping[str, str], *, terminal: bool = True) -> str:
    """Twelve seconds of thought, and an answer."""
    to, clock = FakeStream(terminal=terminal), Clock()
    with make(to, environ, clock) as writer:
        for piece in ("I th", "ink ", "", "so.\n"):
            writer.think(piece)
            clock.now += 4
        writer.write("")
        clock.now -= 4
        writer.write("Yes.")
    return to.written


@pytest.mark.parametrize("make", WRITERS)
def test_thoughts_are_folded_when_the_answer_begins(make: Make) -> None:
    assert thinking(make, COLOURED) == (
        f"{ERASE}\x1b[2mthinking … 2 words\x1b[0m"
        f"{ERASE}\x1b[2mthinking … 2 words\x1b[0m"
        f"{ERASE}\x1b[2mthinking … 3 words\x1b[0m"
        f"{ERASE}\x1b[2mthought for 12 s, 3 words (/show thinking)\x1b[0m\nYes.\n"
    )


@pytest.mark.parametrize("make", WRITERS)
def test_there_is_no_status_line_on_a_dumb_or_narrow_terminal(make: Make) -> None:
    folded = "thought for 12 s, 3 words"
    assert thinking(make, {"TERM": "dumb", "COLUMNS": "80"}) == f"{folded} (/show thinking)\nYes.\n"
    assert thinking(make, {"TERM": "xterm", "COLUMNS": "39", "NO_COLOR": "1"}) == f"{folded}\nYes.\n"


@pytest.mark.parametrize("make", WRITERS)
def test_nothing_of_a_thought_is_written_to_a_pipe(make: Make) -> None:
    assert thinking(make, COLOURED, terminal=False) == "Yes.\n"


def test_without_an_environment_an_answer_writer_is_plain() -> None:
    stream = FakeStream(terminal=True)
    with AnswerWriter(stream, clock=Clock()) as writer:
        writer.think("hm")
    assert stream.written == "thought for 0 s, 1 word (/show thinking)\n"


@pytest.mark.parametrize("make", WRITERS)
def test_a_thought_without_an_answer_is_folded_at_the_end(make: Make) -> None:
    stream = FakeStream(terminal=True)
    writer = make(stream, COLOURED, Clock())
    writer.think("hm")
    writer.end()
    writer.end()
    assert stream.written.endswith(f"{ERASE}\x1b[2mthought for 0 s, 1 word (/show thinking)\x1b[0m\n")
    assert stream.written.count("thought") == 1


@pytest.mark.parametrize("make", WRITERS)
def test_a_blank_thought_leaves_nothing(make: Make) -> None:
    stream = FakeStream(terminal=True)
    with make(stream, COLOURED, Clock()) as writer:
        writer.think("\n\n")
        writer.write("Yes.")
    assert stream.written == "Yes.\n"


@pytest.mark.parametrize("make", WRITERS)
def test_a_thought_in_the_middle_of_an_answer_begins_a_line(make: Make) -> None:
    stream = FakeStream(terminal=True)
    with make(stream, COLOURED, Clock()) as writer:
        writer.write("Wait")
        writer.think("hm")
        writer.write("no.")
    assert stream.written == (
        f"Wait\n{ERASE}\x1b[2mthinking … 1 word\x1b[0m"
        f"{ERASE}\x1b[2mthought for 0 s, 1 word (/show thinking)\x1b[0m\nno.\n"
    )


@pytest.mark.parametrize("make", WRITERS)
def test_the_status_line_is_drawn_ten_times_a_second_at_most(make: Make) -> None:
    stream, clock = FakeStream(terminal=True), Clock()
    with make(stream, COLOURED, clock) as writer:
        for _ in range(1000):
            writer.think("so ")
            clock.now += 0.001
    assert stream.written.count(ERASE) <= 12
