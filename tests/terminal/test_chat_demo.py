"""A chat with the demo model on a real terminal, as a person holds it."""

import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.command import WORKER, wait_for
from tests.terminal.pty_screen import PtyScreen, environment

CTRL_C, CTRL_D = "\x03", "\x04"
SEA = "Tell me about the sea in one sentence."

Start = Callable[..., PtyScreen]


@pytest.fixture
def start(demo_model: Path, tmp_path: Path) -> Iterator[Start]:
    """Start `mixchat chat` with a home of its own."""
    screens: list[PtyScreen] = []

    def begin(*arguments: str) -> PtyScreen:
        environ = environment(
            MIXCHAT_HOME=str(tmp_path / "home"), MIXCHAT_MODELS=str(demo_model.parents[1]), TERM="xterm-256color"
        )
        command = [sys.executable, "-m", "mixchat", "chat", "-m", "demo", "--temperature", "0", *arguments]
        screens.append(PtyScreen(command, environ, rows=50))
        return screens[-1]

    yield begin
    for screen in screens:
        screen.child.close(force=True)


def ready(screen: PtyScreen) -> None:
    """Wait for the prompt, which stands above the bottom line."""
    screen.wait(lambda lines: len(lines) > 1 and lines[-2] == ">>>" and lines[-1].startswith("demo | "))


def say(screen: PtyScreen, line: str) -> list[str]:
    """Type a line; what is on the screen below it when the prompt is back."""
    typed = f">>> {line}"
    before = screen.lines.count(typed)
    screen.type(line + "\r")
    screen.wait(lambda lines: lines.count(typed) > before and lines[-2:-1] != [typed])
    ready(screen)
    begin = max(at for at, each in enumerate(screen.lines) if each == typed)
    return screen.lines[begin + 1 : -2]


def cached(screen: PtyScreen) -> tuple[int, int]:
    """Tokens of the last prompt, and how many were cached."""
    (line,) = (each for each in say(screen, "/show stats") if each.startswith("prompt"))
    match = re.search(r"(\d+) tokens, (\d+) of them cached", line)
    assert match is not None
    return int(match[1]), int(match[2])


def the_worker(screen: PtyScreen) -> psutil.Process:
    def found() -> psutil.Process | None:
        children = psutil.Process(screen.child.pid).children(recursive=True)
        return next((child for child in children if WORKER in child.cmdline()), None)

    return wait_for(found)


def test_undo_edit_fork_and_resume_evaluate_nothing_again(start: Start) -> None:
    screen = start("--max-tokens", "20")
    ready(screen)
    say(screen, SEA)
    say(screen, "And the sky?")
    total, reused = cached(screen)
    assert reused > 25
    say(screen, "/regen")
    assert cached(screen) == (total, total - 1)
    say(screen, "/fork here")
    say(screen, "And the sun?")
    say(screen, "/back here")
    say(screen, "/undo")
    say(screen, "And the moon?")
    now, reused_now = cached(screen)
    assert reused_now >= reused
    assert now - reused_now < 25
    shown = say(screen, "/show")
    assert [line.split()[:2] for line in shown[1:]] == [
        ["1", "user"],
        ["2", "assistant"],
        ["3", "user"],
        ["4", "assistant"],
    ]
    screen.type("/edit 3\r")
    screen.wait_for("Message 3 is at the prompt.")
    screen.wait(lambda lines: lines[-2:-1] == [">>> And the moon?"])
    screen.type(" Briefly.\r")
    screen.wait_for(">>> And the moon? Briefly.")
    ready(screen)
    assert cached(screen)[1] >= reused
    screen.type(CTRL_D)
    assert screen.end() == 0
    again = start("-c", "--max-tokens", "20")
    again.wait_for("Session of 2 turns with demo")
    again.wait_for("> And the moon? Briefly.")
    ready(again)
    again.type(CTRL_D)
    assert again.end() == 0


def test_ctrl_c_and_the_death_of_the_worker(start: Start) -> None:
    screen = start()
    ready(screen)
    screen.type("Tell me a very long story about a lighthouse.\r")
    screen.wait(lambda lines: sum(len(line.split()) for line in lines) > 40)
    screen.type(CTRL_C)
    assert screen.wait_for("[interrupted]") < 2.0
    ready(screen)
    worker = the_worker(screen)
    screen.type("Tell me another one.\r")
    screen.wait(lambda lines: sum(len(line.split()) for line in lines) > 60)
    worker.send_signal(signal.SIGKILL)
    screen.wait_for("was killed by SIGKILL")
    screen.wait(lambda lines: lines[-2:-1] == [">>> Tell me another one."])
    screen.type("\r")
    screen.wait(lambda lines: sum("Tell me another one." in line for line in lines) == 2)
    assert the_worker(screen).pid != worker.pid
    screen.wait(lambda lines: not lines[-1].startswith("demo | ") and len(lines[-1].split()) > 5)
    screen.type(CTRL_C)
    ready(screen)
    screen.type(CTRL_C)
    assert screen.end() == 0
    assert screen.cursor_shown
    assert not screen.bracketed_paste
