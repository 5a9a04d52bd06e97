import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input  # noqa: TID253
from prompt_toolkit.output import DummyOutput  # noqa: TID253

from mixchat.errors import UsageError
from mixchat.ui.completion import CommandWords, Words
from mixchat.ui.console import Terminal
from mixchat.ui.input_history import InputHistory
from mixchat.ui.interrupts import LastPress
from mixchat.ui.line_input import EditedLines, InputOptions, PlainLines, Typed, line_source
from mixchat.ui.line_session import Helpers, LineSession
from mixchat.ui.pastes import Pastes
from tests.fakes.streams import FakeStream

ALT_ENTER, CTRL_J, CTRL_C, CTRL_D, CTRL_G, CTRL_R, CTRL_Y = "\x1b\r", "\n", "\x03", "\x04", "\x07", "\x12", "\x19"
UP, DOWN, LEFT, TAB, ESCAPE = "\x1b[A", "\x1b[B", "\x1b[D", "\t", "\x1b"
LONG = "".join(f"line {number}\n" for number in range(120))
PLACEHOLDER = "[pasted #1: 120 lines]"
INTERRUPT = "KeyboardInterrupt"
WORDS = CommandWords({"edit": "", "exit": "", "file": "", "set": ""}, {"set": lambda: ["top_k", "seed"]}, {"file"})


def pasted(text: str) -> str:
    return f"\x1b[200~{text}\x1b[201~"


class Prompts:
    """Edited lines whose keys come from a pipe."""

    def __init__(self, *, ahead: bool = False, **options: object) -> None:
        self._ahead = ahead
        self._options = InputOptions(**options)  # type: ignore[arg-type]
        self.environ: dict[str, str] = {}
        self.told = ""

    def __call__(self, keys: str | list[str], *drafts: str) -> list[str | None]:
        """What is read while these keys are pressed, once for each draft; of a list, while each prompt is shown."""
        terminal = Terminal(FakeStream(), FakeStream(), stderr := FakeStream(), self.environ)
        typed = Typed(InputHistory(self._options.history), Pastes())
        helpers = Helpers(typed.pastes, lambda: typed.history.entries, self._options.words)
        with create_pipe_input() as pipe:
            session = LineSession(helpers, self._options.keys, pipe, DummyOutput())
            lines = EditedLines(session, typed, terminal, LastPress(self._options.clock))
            if isinstance(keys, list):
                read = [read_once(lines, "", partial(press, session, pipe, [each])) for each in keys]
            else:
                with lines.hold() if self._ahead else nullcontext():
                    pipe.send_text(keys)
                read = [read_once(lines, draft) for draft in drafts or ("",)]
        self.told = stderr.written
        return read


def press(session: LineSession, pipe: PipeInput, keys: Iterable[str]) -> None:
    """Press keys when the prompt is shown, one after the other has taken effect."""

    async def pressing() -> None:
        for key in keys:
            await asyncio.sleep(0.03)
            pipe.send_text(key)

    def begin() -> None:
        session.prompts.app.create_background_task(pressing())

    session.prompts.app.pre_run_callables.append(begin)


def read_once(lines: EditedLines, draft: str, before: Callable[[], None] = lambda: None) -> str | None:
    before()
    try:
        return lines.read(draft)
    except KeyboardInterrupt:
        return INTERRUPT


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        ("hello\r", "hello"),
        (f"a{CTRL_J}b\r", "a\nb"),
        (f"a{ALT_ENTER}b\r", "a\nb"),
        ("a\x1b[27;2;13~b\r", "a\nb"),
        ("a\\\rb\r", "a\nb"),
        ("a\\\\\r", "a\\\\"),
        ("a\\\\\\\rb\r", "a\\\\\nb"),
        (f"C:\\d{LEFT}\r", "C:\\d"),
        ('"""a\rb\\\r\rc"""\r', "a\nb\\\n\nc"),
        ('"""\ra\r"""\r', "a"),
        ('""""""\r', ""),
        ('a """\r', 'a """'),
        (pasted("one\r\ntwo\nthree") + "\r", "one\ntwo\nthree"),
        (pasted("/exit\r") + "x\r", "/exit\nx"),
        (pasted('"""doc"""\nimport os') + "\r", '"""doc"""\nimport os'),
        (pasted("ends in \\") + "\r", "ends in \\"),
        (f"a\udc80{CTRL_D}\r", "a\ufffd"),
        (CTRL_D, None),
    ],
)
@pytest.mark.parametrize("keymap", ["emacs", "vi"])
def test_keys_of_a_terminal(keys: str, read: str | None, keymap: str) -> None:
    keys = keys.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if "\udc80" in keys else keys
    assert Prompts(keys=keymap)(keys) == [read]


def test_vi_keys() -> None:
    assert Prompts(keys="vi")(f"hello world{ESCAPE}bcwthere{ESCAPE}0\r") == ["hello there"]


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        ("hello\r", ["hello"]),
        ("one\rtwo\r", ["one", "two"]),
        (pasted("a line\r" * 5000) + "\r", ["a line\n" * 5000]),
        (CTRL_D, [None]),
    ],
)
def test_keys_typed_during_an_answer_wait_for_the_next_prompt(keys: str, read: list[str | None]) -> None:
    assert Prompts(ahead=True)(keys, *[""] * len(read)) == read


def test_a_long_paste_is_sent_whole() -> None:
    assert Prompts()(f"{pasted(LONG)} and {pasted(LONG)}\r") == [f"{LONG} and {LONG}"]
    assert Prompts()(f"{pasted(LONG)}\x7f\r") == [PLACEHOLDER[:-1]]


def test_a_long_paste_comes_back_folded() -> None:
    typed = Typed(InputHistory(None), Pastes())
    typed.pastes.taken(LONG)
    assert typed.begin(f"see {LONG}") == f"see {PLACEHOLDER}"
    assert Prompts()([f"{pasted(LONG)}\r", f"{UP}!\r"]) == [LONG, f"{LONG}!"]


def test_a_draft_is_edited_on_and_takes_the_place_of_what_was_typed_ahead() -> None:
    assert Prompts()("!\rx\r", "hello", "") == ["hello!", "x"]
    assert Prompts(ahead=True)("typed blind\r", "") == ["typed blind"]


@pytest.mark.parametrize("draft", ['"""\nnot closed', "ends in \\", '"""both"""', "plain", "two\nlines"])
def test_a_draft_is_sent_as_it_was(draft: str) -> None:
    assert Prompts()("\r", draft) == [draft]


def test_what_was_typed_before_is_found_again() -> None:
    keys = ["apple\r", "banana\\\rsplit\r", f"{UP}\r", f"{UP}{UP}{UP}\r", f"ap{UP}\r", f"{CTRL_R}split\r!\r"]
    assert Prompts()(keys) == ["apple", "banana\nsplit", "banana\nsplit", "apple", "apple", "banana\n!split"]


def test_up_moves_in_the_text_first() -> None:
    assert Prompts()(["before\r", f"a{CTRL_J}b{UP}1{DOWN}2\r"]) == ["before", "a1\nb2"]


def test_history_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "history" / "input"
    assert Prompts(history=path)(f"one\r\r{pasted(LONG)}\r", "", "", "") == ["one", "", LONG]
    assert InputHistory(path).entries == ["one", LONG]
    assert Prompts(history=path)([f"{UP}{CTRL_C}", f"o{UP}\r"]) == [INTERRUPT, "one"]


def test_history_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    prompts = Prompts(history=tmp_path / "input")
    assert prompts(["one\r", f"{UP}\r"]) == ["one", "one"]
    assert prompts.told.count("could not be written") == 1


def test_ctrl_c_drops_the_text_and_twice_within_two_seconds_leaves() -> None:
    times = iter([10.0, 12.5, 14.5])
    assert Prompts(clock=lambda: next(times))(f"half{CTRL_C}{CTRL_C}{CTRL_C}", "", "", "") == [INTERRUPT] * 2 + [None]
    assert Prompts(clock=lambda: 1.0)(f"{CTRL_C}a\r{CTRL_C}", "", "", "") == [INTERRUPT, "a", INTERRUPT]
    assert Prompts()(f"dear text{CTRL_C}{CTRL_Y}\r", "", "") == [INTERRUPT, "dear text"]


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        (f"/fi{TAB}\r", "/file "),
        (f"/fill{TAB}\r", "/file "),
        (f"/ex{TAB}\r", "/exit"),
        (f"/set s{TAB}\r", "/set seed"),
        (f"no/e{TAB}\r", "no/e"),
    ],
)
def test_tab_completes(keys: str, read: str) -> None:
    assert slowly(keys, WORDS) == read


def slowly(keys: str, words: Words) -> str | None:
    """What is read when each key has taken effect before the next is pressed."""
    with create_pipe_input() as pipe:
        session = LineSession(Helpers(Pastes(), list, words), "emacs", pipe, DummyOutput())
        press(session, pipe, keys)
        return session.ask(">", "", 0)


def test_enter_takes_a_word_of_the_menu_first() -> None:
    assert slowly(f"/e{TAB}{TAB}{TAB}\r!\r", WORDS) == "/exit!"
    assert slowly(f"/e{TAB}{TAB}{CTRL_G}!\r", WORDS) == "/e!"


def scripted_editor(folder: Path, script: str) -> dict[str, str]:
    path = folder / "an editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return {"EDITOR": f"'{path}'"}


def test_ctrl_g_edits_elsewhere(tmp_path: Path) -> None:
    prompts = Prompts()
    prompts.environ = scripted_editor(tmp_path, 'echo "and more" >> "$1"')
    assert prompts(f"{pasted(LONG)}{CTRL_G}!\r") == [f"{LONG}\nand more!"]
    prompts.environ = scripted_editor(tmp_path, "exit 3")
    assert prompts(f"kept{LEFT}{CTRL_G}!\r") == ["kep!t"]
    assert prompts.told.count("\n") == 1
    assert "ended with status 3" in prompts.told


def test_ctrl_g_without_an_editor() -> None:
    prompts = Prompts()
    assert prompts(f"kept{CTRL_G}!\r") == ["kept!"]
    assert prompts.told == "No editor is set. Set EDITOR to one, for example: export EDITOR=nano\n"


def test_a_signal_ends_the_prompt_before_it_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    class EndedError(BaseException):
        pass

    def end(_number: int, _frame: object) -> None:
        raise EndedError

    def rise(_words: object, _line: str) -> Sequence[object]:
        signal.raise_signal(signal.SIGTERM)
        return ()

    monkeypatch.setattr(CommandWords, "complete", rise)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(EndedError):
            slowly(f"/{TAB}", WORDS)
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)


def plain(content: bytes) -> list[str | None]:
    lines = PlainLines(FakeStream(content), FakeStream())
    return [lines.read("") for _ in range(content.count(b"\n") + 1)]


def test_lines_of_a_pipe() -> None:
    assert plain(b"one\ntwo\r\n\n") == ["one", "two", "", None]
    assert plain("\ufeffnaïve\n".encode()) == ["naïve", None]
    assert plain("naïve\n".encode("latin-1")) == ["naïve", None]
    assert PlainLines(FakeStream(b"no end"), FakeStream()).read("") == "no end"


def test_messages_of_several_lines_in_a_pipe() -> None:
    assert plain(b"a\\\nb\nc\n")[:3] == ["a\nb", "c", None]
    assert plain(b'"""\na\\\nb\n"""\nc\n')[:3] == ["a\\\nb", "c", None]
    assert plain(b"cut off\\\n") == ["cut off\\", None]
    assert plain(b'"""\ncut off\n')[:2] == ['"""\ncut off', None]


def test_a_pipe_of_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="binary"):
        plain(b"a\0b\n")
    monkeypatch.setattr("mixchat.ui.line_input._LINE_LIMIT", 10)
    assert plain(b"123456789\n")[0] == "123456789"
    with pytest.raises(UsageError, match="longer than"):
        plain(b"1234567890\n")
    with pytest.raises(UsageError, match="longer than"):
        plain(b"12345\\\n12345\n")


class Pressed(FakeStream):
    """A stream on which Ctrl-C is pressed again and again."""

    @property
    def buffer(self) -> "Pressed":  # type: ignore[override]
        return self

    def readline(self, _limit: int) -> str:  # type: ignore[override]
        raise KeyboardInterrupt


@pytest.mark.parametrize(("terminal", "times"), [(True, 1), (False, 3)])
def test_ctrl_c_in_plain_lines(terminal: bool, times: int) -> None:
    lines = PlainLines(Pressed(terminal=terminal), FakeStream(), LastPress(lambda: 0.0))
    for _ in range(times):
        with pytest.raises(KeyboardInterrupt):
            lines.read("")
    if terminal:
        assert lines.read("") is None


def test_a_dumb_terminal_is_prompted_on_stderr() -> None:
    stderr = FakeStream(encoding="ascii")
    stdin = FakeStream(b"one\ntwo\\\n2\n", terminal=True)
    lines = line_source(Terminal(stdin, FakeStream(terminal=True), stderr, {"TERM": "dumb"}))
    with lines.hold():
        assert [lines.read("draft"), lines.read(""), lines.read("")] == ["one", "two\n2", None]
    assert stderr.written == ">>> >>> ... >>> \n"
    assert "Alt-Enter" not in lines.keys


@pytest.mark.parametrize(("stdin", "stdout"), [(True, False), (False, True), (False, False)])
def test_editing_needs_a_terminal_on_both_sides(stdin: bool, stdout: bool) -> None:
    terminal = Terminal(FakeStream(terminal=stdin), FakeStream(terminal=stdout), FakeStream(), {"TERM": "xterm"})
    assert isinstance(line_source(terminal), PlainLines)
