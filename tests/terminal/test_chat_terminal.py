import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.terminal.pty_screen import PtyScreen, environment

ROOT = Path(__file__).parents[2]
CHAT = f"'{sys.executable}' '{Path(__file__).with_name('chat_script.py')}'"
READY = "mixtral is ready."
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"

Start = Callable[..., PtyScreen]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a scripted chat in a shell that reports its exit code and the terminal's modes."""
    screens: list[PtyScreen] = []

    def begin(script: str, columns: int = 80, **changed: str) -> PtyScreen:
        environ = environment(SCRIPT=script, PYTHONPATH=str(ROOT), **changed)
        command = f"trap : INT TERM; {CHAT}; echo exit=$?; stty -a | grep -ow -E -e '-?(echo|icanon|icrnl)'"
        screens.append(PtyScreen(["/bin/sh", "-c", command], environ, columns=columns))
        return screens[-1]

    yield begin
    for screen in screens:
        screen.child.close(force=True)


def assert_sane(screen: PtyScreen, code: int) -> None:
    screen.end()
    assert screen.lines[-4].endswith(f"exit={code}")
    assert sorted(screen.lines[-3:]) == ["echo", "icanon", "icrnl"]
    assert screen.cursor_shown
    assert not screen.bracketed_paste
    assert b"\x1b[?1049h" not in screen.raw


@pytest.mark.parametrize("columns", [80, 40])
def test_a_chat(start: Start, columns: int) -> None:
    screen = start("plain", columns)
    screen.wait_for_last(">>>")
    assert screen.lines[0].startswith(READY)
    screen.type("hi\r")
    screen.wait_for("frien")
    screen.wait_for_last(">>>")
    begin = screen.lines.index(">>> hi")
    shown = "".join(line.ljust(columns) for line in screen.lines[begin + 1 :])
    assert shown.split(">>>")[0].rstrip() == "Hello there, ␛[2J␛]0;evil␇ [/INST] friend."
    assert screen.lines[-2:] == ["", ">>>"]
    screen.type(UP)
    screen.wait_for_last(">>> hi")
    screen.type("\r")
    screen.wait_for("Second answer.")
    screen.wait_for_last(">>>")
    screen.type(CTRL_D)
    assert_sane(screen, 0)


@pytest.mark.parametrize("columns", [80, 40])
def test_ctrl_c_keeps_the_partial_answer(start: Start, columns: int) -> None:
    screen = start("long", columns)
    screen.wait_for_last(">>>")
    screen.type("count\r")
    screen.wait_for("w9 ")
    screen.type(CTRL_C)
    assert screen.wait_for("[interrupted]") < 1.0
    screen.wait_for_last(">>>")
    assert screen.lines[-3:] == ["[interrupted]", "", ">>>"]
    assert any(line.startswith("w0 w1 w2") for line in screen.lines)
    assert not any("^C" in line for line in screen.lines)
    screen.type("again\r")
    screen.wait_for("Still here.")
    screen.wait_for_last(">>>")
    screen.type(CTRL_C)
    screen.wait_for("Ctrl-C again leaves")
    screen.wait_for_last(">>>")
    screen.type("/exit\r")
    assert_sane(screen, 0)


def test_a_second_ctrl_c_leaves_a_deaf_engine_behind(start: Start) -> None:
    screen = start("long", DEAF="1")
    screen.wait_for_last(">>>")
    screen.type("count\r")
    screen.wait_for("w9 ")
    screen.type(CTRL_C)
    screen.wait_for("w20 ")
    screen.type(CTRL_C)
    assert screen.wait_for("[interrupted]") < 1.0
    assert_sane(screen, 0)


def test_a_crash_gives_the_text_back(start: Start) -> None:
    screen = start("crash")
    screen.wait_for_last(">>>")
    screen.type("precious\r")
    screen.wait_for("SIGSEGV")
    screen.wait_for_last(">>> precious")
    screen.type("!\r")
    screen.wait_for("Back again.")
    screen.wait_for_last(">>>")
    screen.type(CTRL_D)
    assert_sane(screen, 0)


def test_a_large_paste_during_an_answer_does_not_deafen_it_and_stays_one_message(start: Start) -> None:
    screen = start("long")
    screen.wait_for_last(">>>")
    screen.type("count\r")
    screen.wait_for("w9 ")
    screen.type("\x1b[200~" + "rm -r nothing\r" * 1000 + "\x1b[201~")
    screen.type(CTRL_C)
    screen.wait_for("[interrupted]")
    screen.wait_for("[pasted #1: 1000 lines]")
    screen.type("\r")
    screen.wait_for("Still here.")
    screen.wait_for_last(">>>")
    screen.type(CTRL_D)
    assert_sane(screen, 0)


def test_keys_typed_during_an_answer_wait_for_the_prompt(start: Start) -> None:
    screen = start("plain", PAUSE="0.2")
    screen.wait_for_last(">>>")
    screen.type("hi\r")
    screen.wait_for("Hello")
    screen.type("next\r")
    screen.wait_for("Second answer.")
    assert sum("next" in line for line in screen.lines) == 1
    screen.type(CTRL_D)
    assert_sane(screen, 0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode(start: Start, encoding: str) -> None:
    screen = start("plain", PYTHONIOENCODING=encoding)
    screen.wait_for_last(">>>")
    screen.type("na\u00efve \u4e2d\r")
    screen.wait_for("Hello there, \\u241b[2J\\u241b]0;evil\\u2407 [/INST] friend.")
    screen.wait_for_last(">>>")
    screen.type(CTRL_D)
    assert_sane(screen, 0)


@pytest.mark.parametrize("columns", [1, 5, 500])
def test_any_width_does(start: Start, columns: int) -> None:
    screen = start("plain", columns)
    screen.wait(lambda lines: bool(lines) and ">" in lines[-1])
    screen.type(f"hi\r{CTRL_D}")
    screen.end()
    assert b"Traceback" not in screen.raw
    assert b"exit=0" in screen.raw


def test_a_paste_is_one_message(start: Start) -> None:
    screen = start("plain")
    screen.wait_for_last(">>>")
    screen.type("\x1b[200~first line\rsecond line\r\x1b[201~")
    screen.wait_for_last("    second line")
    screen.type("\r")
    screen.wait_for("friend.")
    screen.wait_for_last(">>>")
    assert not any("Second answer." in line for line in screen.lines)
    screen.type(CTRL_D)
    assert_sane(screen, 0)


@pytest.mark.parametrize("columns", [80, 40])
def test_bars_leave_nothing_behind(start: Start, columns: int) -> None:
    screen = start("prefill", columns, SLOW="1")
    screen.wait_for("Loading mixtral ━")
    assert len(screen.lines) == 1
    screen.wait_for_last(">>>")
    screen.type("read\r")
    screen.wait_for("/4000 tokens, ")
    assert len(screen.lines[-1]) < columns
    screen.wait_for("Read it all.")
    screen.wait_for_last(">>>")
    assert not any("Loading" in line or "Prefill" in line for line in screen.lines)
    screen.type(CTRL_D)
    assert_sane(screen, 0)


def test_loading_is_interrupted(start: Start) -> None:
    screen = start("plain", SLOW="1")
    screen.wait_for("Loading mixtral ━")
    screen.type(CTRL_C)
    assert screen.wait_for_last(">>>") < 2.0
    assert screen.lines[0] == "mixtral is not loaded; your next message loads it."
    screen.type(CTRL_D)
    assert_sane(screen, 0)


@pytest.mark.parametrize("columns", [80, 40])
def test_a_dumb_terminal_gets_plain_lines(start: Start, columns: int) -> None:
    screen = start("long", columns, TERM="dumb", SLOW="1")
    screen.wait_for_last(">>>")
    screen.type("count\n")
    screen.wait_for("w9 ")
    screen.type(CTRL_C)
    screen.wait_for("[interrupted]")
    screen.wait_for_last(">>>")
    screen.type("again\n")
    screen.wait_for("Still here.")
    screen.wait_for_last(">>>")
    screen.type(CTRL_C)
    screen.wait_for("Ctrl-C again leaves")
    screen.wait_for_last(">>>")
    screen.type(CTRL_D)
    assert_sane(screen, 0)
    assert b"\x1b" not in screen.raw


@pytest.mark.parametrize("when", ["loading", "prompt", "answer"])
def test_being_terminated_leaves_a_sane_terminal(start: Start, when: str) -> None:
    screen = start("long", SLOW="1" if when == "loading" else "")
    screen.wait_for("Loading" if when == "loading" else READY)
    if when != "loading":
        screen.wait_for_last(">>>")
    if when == "answer":
        screen.type("count\r")
        screen.wait_for("w9 ")
    os.killpg(screen.child.pid, signal.SIGTERM)
    assert_sane(screen, 143)
