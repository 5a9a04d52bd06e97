import os
import random
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixchat.ui.input_history import InputHistory
from tests.terminal.pty_screen import PtyScreen, environment

ROOT = Path(__file__).parents[2]
SCRIPT = f"'{sys.executable}' '{Path(__file__).with_name('input_script.py')}'"
MODES = "stty -a | grep -ow -E -e '-?(echo|icanon|icrnl)'"
CTRL_C, CTRL_D, CTRL_G, CTRL_R, CTRL_Z, TAB = "\x03", "\x04", "\x07", "\x12", "\x1a", "\t"
COLOUR = re.compile(rb"\x1b\[(?:[0-9]+;)*(?:[34][0-9]|2)(?:;[0-9]+)*m")

Start = Callable[..., PtyScreen]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the script in a shell that reports its exit code and the terminal's modes."""
    screens: list[PtyScreen] = []

    def begin(columns: int = 80, rows: int = 24, **changed: str) -> PtyScreen:
        command = f"trap : INT TERM HUP; {SCRIPT}; echo exit=$?; {MODES}"
        environ = environment(PYTHONPATH=str(ROOT), **changed)
        screens.append(PtyScreen(["/bin/sh", "-c", command], environ, rows, columns))
        return screens[-1]

    yield begin
    for screen in screens:
        screen.child.close(force=True)


def leave(screen: PtyScreen) -> None:
    screen.wait(lambda lines: ">>>" in lines[-2:])
    screen.type(CTRL_D)
    assert_sane(screen)


def assert_sane(screen: PtyScreen, code: int = 0) -> None:
    screen.end()
    assert screen.lines[-4].endswith(f"exit={code}")
    assert sorted(screen.lines[-3:]) == ["echo", "icanon", "icrnl"]
    assert screen.cursor_shown
    assert not screen.bracketed_paste
    assert not screen.styled


def test_pastes_and_messages_of_several_lines(start: Start) -> None:
    screen = start()
    screen.wait_for_last(">>>")
    screen.type("\x1b[200~def f():\r\n    return 1\x1b[201~")
    screen.wait_for_last("        return 1")
    screen.type("\r")
    screen.wait_for(r"21: 'def f():\n    return 1'")
    screen.type("\x1b[200~" + "rm -r /\r" * 5000 + "\x1b[201~")
    screen.wait_for_last(">>> [pasted #1: 5000 lines]")
    screen.type(" and\\\r")
    screen.type('more\r"""a\rb"""\r')
    screen.wait_for("40009: 'rm -r /")
    screen.wait_for(r"3: 'a\nb'")
    screen.wait_for_last(">>>")
    leave(screen)


def test_history_and_search(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "state" / "input"
    for text in ("apple pie", "pear\ntart", "cherry"):
        InputHistory(path).append(text)
    screen = start(HISTORY=str(path))
    screen.wait_for_last(">>>")
    screen.type(CTRL_R)
    screen.type("tar")
    screen.wait(lambda lines: ">>> pear" in lines and lines[-1].endswith("tar"))
    screen.type("\r")
    screen.wait_for_last("    tart")
    screen.type("\r")
    screen.wait_for(r"9: 'pear\ntart'")
    screen.type("ap\x1b[A")
    screen.wait_for_last(">>> apple pie")
    screen.type("\r")
    screen.wait_for("9: 'apple pie'")
    leave(screen)
    assert InputHistory(path).entries[-2:] == ["pear\ntart", "apple pie"]
    assert b"".join(found.read_bytes() for found in tmp_path.rglob("*") if found.is_file()).count(b"apple") == 2


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_an_editor(start: Start, tmp_path: Path, no_colour: str) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nstty -echo\nprintf "\\033[?1049hediting\\033[?1049l"\necho edited >> "$1"\nstty echo\n'
    )
    editor.chmod(0o700)
    screen = start(VISUAL=shlex.quote(str(editor)), STATUS="1", NO_COLOR=no_colour)
    screen.wait_for_last("demo · cpu · 80 columns")
    screen.type(f"text{CTRL_G}")
    screen.wait(lambda lines: lines[-3:] == [">>> text", "    edited", "demo · cpu · 80 columns"])
    assert len(screen.lines) == 3
    screen.type("\r")
    screen.wait_for(r"11: 'text\nedited'")
    leave(screen)
    assert bool(COLOUR.search(screen.raw)) != bool(no_colour)


@pytest.mark.parametrize("columns", [80, 40])
def test_the_menu_leaves_nothing_behind(start: Start, columns: int) -> None:
    screen = start(columns, STATUS="1", NO_COLOR="1")
    status = f"demo · cpu · {columns} columns"
    screen.wait_for_last(status)
    screen.type(f"/e{TAB}")
    screen.wait_for(" edit an earlier mess")
    assert [line.split()[0] for line in screen.lines[1:4]] == ["/edit", "/exit", "/export"]
    screen.type(TAB)
    screen.wait_for(">>> /edit")
    screen.type(TAB)
    screen.wait_for(">>> /exit")
    screen.type("\r")
    screen.wait(lambda lines: lines == [">>> /exit", status])
    screen.type("\r")
    screen.wait(lambda lines: lines == [">>> /exit", "5: '/exit'", ">>>", status])
    leave(screen)


def test_resizing_at_the_prompt(start: Start) -> None:
    screen = start(STATUS="1")
    screen.wait_for_last("demo · cpu · 80 columns")
    screen.type("one two three four five six seven eight")
    screen.wait_for("seven eight")
    screen.resize(24, 40)
    wrapped = [">>> one two three four five six seven ei", "    ght", "demo · cpu · 40 columns"]
    screen.wait(lambda lines: lines == wrapped)
    sizes = random.Random(5)
    for _ in range(60):
        screen.resize(sizes.randint(1, 40), sizes.choice([1, 2, 4, 5, 20, 79, 200, 500]))
        screen.type("x\x7f")
    screen.resize(24, 60)
    screen.wait_for_last("demo · cpu · 60 columns")
    screen.type("\r")
    screen.wait_for("39: 'one two three four five six seven eight'")
    leave(screen)


def test_resizing_a_terminal_that_wraps_anew(start: Start) -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    screen = start(STATUS="1", TMUX="pane")
    screen.wait_for_last("demo · cpu · 80 columns")
    screen.type(f"said before\r{text}\n{text}")
    screen.wait(lambda lines: len(lines) == 7)
    for columns in (40, 30, 60, 25):
        screen.settle()
        screen.resize_wrapping(24, columns)
        screen.wait_for_last(f"demo · cpu · {columns} columns"[:columns])
    assert screen.lines[:2] == [">>> said before", "11: 'said before'"]
    assert sum(">>> one two" in line for line in screen.lines) == 1
    screen.type("\r")
    screen.wait_for(f"{2 * len(text) + 1}: 'one two")
    leave(screen)


@pytest.mark.parametrize("changed", [{}, {"TERM": "dumb"}])
def test_ctrl_c_twice_leaves(start: Start, changed: dict[str, str]) -> None:
    screen = start(**changed)
    screen.wait_for_last(">>>")
    screen.type("half a text")
    screen.wait_for("half a text")
    screen.type(CTRL_C)
    screen.wait_for("Ctrl-C again leaves.")
    screen.wait_for_last(">>>")
    screen.type("go on\r")
    screen.wait_for("5: 'go on'")
    screen.wait_for_last(">>>")
    screen.type("wait 30\r")
    screen.wait_for_last("working")
    screen.type(CTRL_C)
    screen.wait_for_last(">>>")
    screen.type(CTRL_C)
    assert_sane(screen)


def test_a_dumb_terminal_gets_plain_lines(start: Start) -> None:
    screen = start(TERM="dumb", STATUS="1")
    screen.wait_for_last(">>>")
    screen.type('one\\\rtwo\r"""\ra\r"""\r')
    screen.wait_for(r"7: 'one\ntwo'")
    screen.wait_for("1: 'a'")
    leave(screen)
    assert b"\x1b" not in screen.raw


def test_vi_keys(start: Start) -> None:
    screen = start(KEYS="vi")
    screen.wait_for_last(">>>")
    screen.type("hello world")
    screen.wait_for("hello world")
    screen.type("\x1b")
    screen.type("bcwthere\x1b\ragain")
    screen.wait_for_last("    again")
    screen.type("\r")
    screen.wait_for(r"17: 'hello there\nagain'")
    leave(screen)


@pytest.mark.parametrize("where", ["prompt", "work"])
def test_ctrl_z_stops_and_comes_back(where: str) -> None:
    environ = environment(PYTHONPATH=str(ROOT), PS1="shell$ ", STATUS="1")
    screen = PtyScreen(["/bin/bash", "--norc", "--noprofile", "-i"], environ)
    try:
        screen.wait_for_last("shell$")
        screen.type(SCRIPT + "\r")
        screen.wait_for("demo · cpu")
        screen.type("wait 1\r" if where == "work" else "kept")
        screen.wait_for_last("working" if where == "work" else "demo · cpu · 80 columns")
        screen.type(CTRL_Z)
        screen.wait_for("Stopped")
        screen.wait_for_last("shell$")
        assert not screen.bracketed_paste or b"\x1b[?2004l" in screen.raw
        screen.type(f"clear; {MODES}\r")
        screen.wait(lambda lines: sorted(lines[-4:-1]) == ["echo", "icanon", "icrnl"])
        screen.type("clear; fg\r")
        if where == "work":
            screen.wait_for("6: 'wait 1'")
        screen.wait(lambda lines: lines[-1:] == ["demo · cpu · 80 columns"])
        screen.type("more\r")
        screen.wait_for("8: 'keptmore'" if where == "prompt" else "4: 'more'")
        screen.wait_for_last("demo · cpu · 80 columns")
        screen.type(CTRL_D)
        screen.wait_for_last("shell$")
        screen.type("exit\r")
        screen.end()
    finally:
        screen.child.close(force=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("where", ["prompt", "menu", "work"])
def test_being_ended_leaves_a_sane_terminal(start: Start, number: signal.Signals, where: str) -> None:
    screen = start(STATUS="1")
    screen.wait_for("demo · cpu")
    screen.type({"prompt": "some text", "menu": f"/{TAB}", "work": "wait 30\r"}[where])
    screen.wait_for({"prompt": "some text", "menu": "/export", "work": "working"}[where])
    os.killpg(screen.child.pid, number)
    assert_sane(screen, 128 + number)


def test_a_terminal_that_is_gone_ends_it() -> None:
    screen = PtyScreen(["/bin/sh", "-c", f"exec {SCRIPT}"], environment(PYTHONPATH=str(ROOT), STATUS="1"))
    screen.wait_for("demo · cpu")
    screen.child.ptyproc.fileobj.close()
    _pid, status = os.waitpid(screen.child.pid, 0)
    screen.child.closed = screen.child.ptyproc.closed = True
    assert os.waitstatus_to_exitcode(status) == -signal.SIGHUP


@pytest.mark.parametrize("columns", [1, 3, 500])
def test_any_width_does(start: Start, columns: int) -> None:
    screen = start(columns, STATUS="1")
    screen.wait(lambda lines: bool(lines) and ">" in "".join(lines))
    screen.type(f"/e{TAB}{TAB}\x1b[200~a\rb\x1b[201~{CTRL_R}x\r\r{CTRL_D}")
    screen.end()
    assert b"Traceback" not in screen.raw
    assert b"Unhandled" not in screen.raw
