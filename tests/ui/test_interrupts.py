import os
import pty
import signal
import termios
import time

import pytest

from mixchat.ui.interrupts import interrupts, keys_held
from tests.fakes.streams import FakeStream


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.001)


@pytest.mark.parametrize(
    ("times", "called"), [(0, []), (1, ["first"]), (2, ["first", "second"]), (4, ["first", "second"])]
)
def test_the_first_asks_and_the_second_kills(times: int, called: list[str]) -> None:
    calls: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with interrupts(lambda: calls.append("first"), lambda: calls.append("second")) as presses:
        for _ in range(times):
            press()
    assert calls == called
    assert presses.count == times
    assert presses.killed == (times >= 2)
    assert signal.getsignal(signal.SIGINT) is before


def test_afterwards_ctrl_c_is_as_before() -> None:
    with pytest.raises(ValueError, match="stop"), interrupts(press, press):
        raise ValueError("stop")
    with pytest.raises(KeyboardInterrupt):
        press()


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts(press, press) as presses:
            press()
        assert presses.count == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_keys_are_held_without_echo_and_come_as_typed() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "r", encoding="utf-8") as terminal:
        before = termios.tcgetattr(slave)
        with keys_held(terminal):
            held = termios.tcgetattr(slave)
        assert termios.tcgetattr(slave) == before
    os.close(master)
    assert not held[3] & (termios.ECHO | termios.ICANON)
    assert not held[0] & termios.ICRNL
    assert held[3] & termios.ISIG


def test_nothing_to_hold_where_there_is_no_terminal() -> None:
    with keys_held(FakeStream()), open(os.devnull, encoding="utf-8") as null, keys_held(null):  # noqa: PTH123
        pass
