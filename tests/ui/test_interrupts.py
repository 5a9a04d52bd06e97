import os
import pty
import signal
import termios
import threading
import time

import pytest

from mixchat.ui.interrupts import LastPress, ending_put_off, interrupts, keys_held, modes
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


@pytest.mark.parametrize(
    ("times", "answered", "called", "leaving"),
    [
        ([10, 12], False, ["first", "second"], True),
        ([10, 12.1], False, ["first", "second"], False),
        ([10, 11], True, ["first", "second"], True),
        ([10, 13], True, ["first", "first"], False),
        ([10, 13, 14], True, ["first", "first", "second"], True),
        ([10, 13, 17], True, ["first", "first", "first"], False),
        ([10, 13, 14, 15], False, ["first", "second"], False),
    ],
)
def test_twice_within_two_seconds_leaves(times: list[float], answered: bool, called: list[str], leaving: bool) -> None:
    calls: list[str] = []
    clock = iter(times)
    with interrupts(
        lambda: calls.append("first"), lambda: calls.append("second"), LastPress(lambda: next(clock))
    ) as presses:
        for _ in times:
            press()
            presses.answered = answered
    assert calls == called
    assert (presses.leaving, presses.killed) == (leaving, "second" in called)


def test_a_press_is_remembered_until_something_else_is_done() -> None:
    now = [5.0]
    last = LastPress(lambda: now[0])
    assert not last.again()
    assert last.again()
    last.forget()
    assert not last.again()
    now[0] += 2.5
    assert not last.again()


def test_what_ends_the_program_waits_for_the_block() -> None:
    came: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: came.append("handled"))
    try:
        with ending_put_off(lambda: came.append("noted")):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.001)
            came.append("worked on")
        assert came == ["noted", "worked on", "handled"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_beside_the_main_thread_signals_are_left_alone() -> None:
    def work() -> None:
        with ending_put_off(), modes(lambda: done.append("entered"), lambda: done.append("left")):
            done.append("worked")

    done: list[str] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["entered", "worked", "left"]


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
