import pytest

from mixchat.errors import UsageError
from mixchat.ui.console import Terminal
from mixchat.ui.line_input import EditedLines, PlainLines, key_bindings, line_source
from tests.fakes.streams import FakeStream

ALT_ENTER, CTRL_J, CTRL_D = "\x1b\r", "\n", "\x04"


def edited(keys: str, *drafts: str) -> list[str | None]:
    """What is read while these keys are pressed, once for each draft."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    with create_pipe_input() as pipe:
        session: PromptSession[str] = PromptSession(key_bindings=key_bindings(), input=pipe, output=DummyOutput())
        pipe.send_text(keys)
        lines = EditedLines(session, FakeStream())
        return [lines.read(draft) for draft in drafts or ("",)]


def typed_ahead(keys: str, *drafts: str) -> list[str | None]:
    """What is read when these keys were pressed while an answer came."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    with create_pipe_input() as pipe:
        session: PromptSession[str] = PromptSession(key_bindings=key_bindings(), input=pipe, output=DummyOutput())
        lines = EditedLines(session, FakeStream())
        with lines.hold():
            pipe.send_text(keys)
        return [lines.read(draft) for draft in drafts or ("",)]


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        ("hello\r", "hello"),
        (f"a{CTRL_J}b\r", "a\nb"),
        (f"a{ALT_ENTER}b\r", "a\nb"),
        ("\x1b[200~one\r\ntwo\nthree\x1b[201~\r", "one\ntwo\nthree"),
        ("\x1b[200~/exit\r\x1b[201~x\r", "/exit\nx"),
        (CTRL_D, None),
    ],
)
def test_keys_of_a_terminal(keys: str, read: str | None) -> None:
    assert edited(keys) == [read]


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        ("hello\r", ["hello"]),
        ("one\rtwo\r", ["one", "two"]),
        ("\x1b[200~" + "a line\r" * 5000 + "\x1b[201~\r", ["a line\n" * 5000]),
        (CTRL_D, [None]),
    ],
)
def test_keys_typed_during_an_answer_wait_for_the_next_prompt(keys: str, read: list[str | None]) -> None:
    assert typed_ahead(keys, *[""] * len(read)) == read


def test_a_draft_takes_the_place_of_what_was_typed_ahead() -> None:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    with create_pipe_input() as pipe:
        session: PromptSession[str] = PromptSession(input=pipe, output=DummyOutput())
        lines = EditedLines(session, FakeStream())
        with lines.hold():
            pipe.send_text("typed blind\r")
        pipe.send_text("!\r")
        assert lines.read("my words") == "my words!"


def test_a_draft_is_edited_on() -> None:
    assert edited("!\rx\r", "hello", "") == ["hello!", "x"]


def test_ctrl_c_is_the_callers_matter() -> None:
    with pytest.raises(KeyboardInterrupt):
        edited("half a line\x03")


def plain(content: bytes) -> list[str | None]:
    lines = PlainLines(FakeStream(content), FakeStream())
    return [lines.read("") for _ in range(content.count(b"\n") + 1)]


def test_lines_of_a_pipe() -> None:
    assert plain(b"one\ntwo\r\n\n") == ["one", "two", "", None]
    assert plain("\ufeffnaïve\n".encode()) == ["naïve", None]
    assert plain("naïve\n".encode("latin-1")) == ["naïve", None]
    assert PlainLines(FakeStream(b"no end"), FakeStream()).read("") == "no end"


def test_a_pipe_of_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="binary"):
        plain(b"a\0b\n")
    monkeypatch.setattr("mixchat.ui.line_input._LINE_LIMIT", 10)
    assert plain(b"123456789\n")[0] == "123456789"
    with pytest.raises(UsageError, match="longer than"):
        plain(b"1234567890\n")


def test_a_dumb_terminal_is_prompted_on_stderr() -> None:
    stderr = FakeStream(encoding="ascii")
    terminal = Terminal(FakeStream(b"one\n", terminal=True), FakeStream(terminal=True), stderr, {"TERM": "dumb"})
    lines = line_source(terminal)
    with lines.hold():
        assert [lines.read("draft"), lines.read("")] == ["one", None]
    assert stderr.written == ">>> >>> \n"
    assert "Alt-Enter" not in lines.keys


@pytest.mark.parametrize(("stdin", "stdout"), [(True, False), (False, True), (False, False)])
def test_editing_needs_a_terminal_on_both_sides(stdin: bool, stdout: bool) -> None:
    terminal = Terminal(FakeStream(terminal=stdin), FakeStream(terminal=stdout), FakeStream(), {"TERM": "xterm"})
    assert isinstance(line_source(terminal), PlainLines)
