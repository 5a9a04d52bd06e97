import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest

from mixchat.app.events import ChatEvent, Notice
from mixchat.app.shelf import Shelf
from mixchat.engine.events import Finished, FinishReason, Timings, Token, Usage
from mixchat.errors import EngineDied, NotFound, OutputError, PromptTooLong, UsageError
from mixchat.ui.chat.commands import help_text
from mixchat.ui.chat.context import Chat
from mixchat.ui.chat.repl import run_chat
from mixchat.ui.chat.screen import Screen
from mixchat.ui.console import Terminal
from mixchat.ui.interrupts import LastPress
from mixchat.ui.line_input import LEAVE_HINT, Lines, line_source
from tests.fakes.plans import opened
from tests.fakes.streams import FakeStream
from tests.fakes.talk import CRASHED, EMPTY_HOUSE, INTERRUPTED, NOWHERE, Script, ScriptedTalk, words

READY = "mixtral is ready. /help lists the commands, Ctrl-D leaves.\n"
UNLOADED = "mixtral is not loaded; your next message loads it.\n"
OPENING = (opened(),)
TOO_LONG = PromptTooLong(9000, 8191, "Shorten it.")


class Person:
    """Types the given lines; an exception is a key such as Ctrl-C. Remembers the drafts it was given."""

    keys = "Ctrl-D leaves."

    def __init__(self, *lines: str | BaseException) -> None:
        self.last_press = LastPress()
        self._lines = iter(lines)
        self.drafts: list[str] = []

    def read(self, draft: str) -> str | None:
        self.drafts.append(draft)
        line = next(self._lines, None)
        if isinstance(line, BaseException):
            raise line
        return line

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


def chat(talk: ScriptedTalk, person: Person, *, quiet: bool = False) -> tuple[str, str]:
    """Hold a chat on a terminal; stdout and stderr."""
    stdin, stdout, stderr = (FakeStream(terminal=True) for _ in range(3))
    hold(talk, Terminal(stdin, stdout, stderr, {"TERM": "xterm", "NO_COLOR": "1"}, quiet), person)
    return stdout.written, stderr.written


def hold(talk: ScriptedTalk, terminal: Terminal, lines: Lines) -> None:
    assert run_chat(Chat(talk, Screen(terminal), lines, Shelf(EMPTY_HOUSE, saving=False), NOWHERE)) == 0


def test_a_conversation() -> None:
    talk = ScriptedTalk(words("Hello [/INST] \x1b[2J"), words("Bye"), opening=OPENING)
    out, err = chat(talk, Person("hi", "  ", "bye"))
    assert out == "Hello [/INST] ␛[2J \n\nBye \n\n"
    assert err == READY
    assert talk.said == ["hi", "bye"]


def test_commands_are_not_said() -> None:
    talk = ScriptedTalk(opening=OPENING)
    out, err = chat(talk, Person("/help", "/exut", "/exit", "not read"))
    assert out == ""
    assert err == (
        READY + help_text("Ctrl-D leaves.", 80) + "\n"
        "mixchat: There is no command /exut.\n  -> Did you mean /exit? To say it to the model, begin with a space.\n"
    )


def test_ctrl_c_at_the_prompt_does_not_leave() -> None:
    talk = ScriptedTalk(words("Hello"), opening=OPENING)
    out, err = chat(talk, Person(KeyboardInterrupt(), "hi"))
    assert (out, err) == ("Hello \n\n", READY + LEAVE_HINT + "\n")


def test_quiet_leaves_out_what_helps() -> None:
    talk = ScriptedTalk((Notice("Slow."), *words("Hello")), (Token("x", 1), INTERRUPTED), opening=OPENING)
    out, err = chat(talk, Person(KeyboardInterrupt(), "hi", "ho"), quiet=True)
    assert (out, err) == ("Hello \n\nx\n\n", "[interrupted]\n")


@pytest.mark.parametrize("error", [CRASHED, TOO_LONG])
def test_an_unanswered_text_comes_back(error: EngineDied | PromptTooLong) -> None:
    talk = ScriptedTalk((Token("Hel", 1), error), words("Hello"), opening=OPENING)
    person = Person("a\nlong text", "a\nlong text", "/exit")
    out, err = chat(talk, person)
    assert out == "Hel\nHello \n\n"
    back = "Your words are back at the prompt; Enter sends them.\n"
    assert err == READY + f"mixchat: {error.message}\n  -> {error.hint}\n" + back
    assert person.drafts == ["", "a\nlong text", ""]


@pytest.mark.parametrize(
    ("reason", "mark"),
    [
        ("stop", ""),
        ("interrupted", "[interrupted]\n"),
        ("length", "[cut off: --max-tokens 1 is reached]\n"),
    ],
)
def test_how_an_answer_ended(reason: FinishReason, mark: str) -> None:
    end = Finished(reason, Usage(1, 0, 1), Timings())
    _, err = chat(ScriptedTalk((Token("x", 1), end), opening=OPENING), Person("hi"))
    assert err == READY + mark


class Pressing(ScriptedTalk):
    """Ctrl-C is pressed after every event."""

    def _play(self, script: Script) -> Iterator[ChatEvent]:
        for event in super()._play(script):
            yield event
            os.kill(os.getpid(), signal.SIGINT)


class PressingOnce(ScriptedTalk):
    """Ctrl-C is pressed after the first event."""

    def _play(self, script: Script) -> Iterator[ChatEvent]:
        for count, event in enumerate(super()._play(script)):
            yield event
            if not count:
                os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_keeps_the_partial_answer() -> None:
    out, err = chat(Pressing(words("one two three")), Person("count"))
    assert out == "one \n\n"
    assert err == UNLOADED + "[interrupted]\n"


def test_a_second_ctrl_c_kills_a_deaf_engine_and_leaves() -> None:
    person = Person("count", "/exit")
    out, err = chat(Pressing(words("one two three"), deaf=True), person)
    assert out == "one two \n\n"
    assert err == UNLOADED + "[interrupted]\n"
    assert person.drafts == [""]


class Breaking(Pressing):
    """What the second Ctrl-C kills breaks loudly."""

    def _play(self, script: Script) -> Iterator[ChatEvent]:
        try:
            yield from super()._play(script)
        except KeyboardInterrupt:
            raise CRASHED from None


def test_what_breaks_when_killed_is_no_error() -> None:
    _, err = chat(Breaking(words("one two three"), deaf=True), Person("count"))
    assert err == UNLOADED + "[interrupted]\n"


def test_loading_is_interrupted_and_goes_on_with_the_first_message() -> None:
    slow = (Notice("Wait."), Notice("Wait more."), opened())
    assert chat(PressingOnce(opening=slow), Person())[1] == "Wait.\n" + UNLOADED
    assert chat(Pressing(opening=slow, deaf=True), Person())[1] == "Wait.\nWait more.\n"


def test_a_text_whose_loading_was_interrupted_comes_back() -> None:
    person = Person("first", "second")
    chat(ScriptedTalk((Notice("Loading stopped."),), words("Hello"), opening=OPENING), person)
    assert person.drafts == ["", "first", ""]


def test_an_engine_that_dies_while_loading_keeps_the_chat() -> None:
    talk = ScriptedTalk(words("Hello"), opening=(CRASHED,))
    out, err = chat(talk, Person("hi"))
    assert out == "Hello \n\n"
    assert err == f"mixchat: {CRASHED.message}\n  -> {CRASHED.hint}\n{UNLOADED}"


def test_a_model_that_cannot_be_opened_ends_it() -> None:
    with pytest.raises(NotFound):
        chat(ScriptedTalk(opening=(NotFound("Gone.", "Look."),)), Person("hi"))


def test_an_answer_that_cannot_be_written_ends_it() -> None:
    with pytest.raises(OutputError):
        chat(ScriptedTalk((OutputError("Full.", "Free."),)), Person("hi"))


def piped(talk: ScriptedTalk, content: bytes) -> tuple[str, str]:
    stdin, stdout, stderr = FakeStream(content), FakeStream(), FakeStream()
    terminal = Terminal(stdin, stdout, stderr, {})
    hold(talk, terminal, line_source(terminal))
    return stdout.written, stderr.written


def test_every_line_of_a_pipe_is_a_message() -> None:
    talk = ScriptedTalk(words("One\x1b"), words("Two"), opening=OPENING)
    assert piped(talk, b"first\n\nsecond\n") == ("One\x1b \n\nTwo \n", "")
    assert talk.said == ["first", "second"]


@pytest.mark.parametrize(("content", "error"), [(b"hi\n", EngineDied), (b"/exut\n", UsageError), (b"\0\n", UsageError)])
def test_an_error_ends_a_pipe(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        piped(ScriptedTalk((CRASHED,), opening=OPENING), content)


def test_an_engine_that_dies_while_loading_ends_a_pipe() -> None:
    with pytest.raises(EngineDied):
        piped(ScriptedTalk(opening=(CRASHED,)), b"hi\n")


def test_ctrl_c_ends_a_pipe() -> None:
    with pytest.raises(KeyboardInterrupt):
        piped(Pressing(words("one two")), b"hi\n")
