"""Ctrl-C in a command that has something to show."""

import signal
from collections.abc import Callable, Iterator

import pytest

from mixchat.cli.stopping import stoppable

NOTHING, SOMETHING = "loading", "measuring"


def run(*events: str | Callable[[], None], runs: bool = True) -> tuple[list[str], list[str]]:
    """Events and presses in turn; what was passed on, and what was asked of the engine, until the command ended."""
    passed: list[str] = []
    asked: list[str] = []

    def interrupt() -> bool:
        asked.append(passed[-1])
        return runs

    def work() -> Iterator[str]:
        for event in events:
            if callable(event):
                event()
            else:
                yield event

    with (
        pytest.raises(KeyboardInterrupt),
        stoppable(interrupt, lambda event: event == SOMETHING) as stop,
    ):
        for event in stop.watched(work()):
            passed.append(event)
            assert stop.asked == bool(asked)
    return passed, asked


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_press_stops_the_work_and_the_command_ends_behind_it() -> None:
    assert run(SOMETHING, press, "shown") == ([SOMETHING, "shown"], [SOMETHING])


def test_a_press_ends_the_command_where_there_is_nothing_to_show() -> None:
    assert run(NOTHING, press, "never") == ([NOTHING], [])
    assert run(SOMETHING, NOTHING, press, "never") == ([SOMETHING, NOTHING], [])


def test_a_press_ends_the_command_where_there_is_nothing_to_wait_for() -> None:
    assert run(SOMETHING, press, "never", runs=False) == ([SOMETHING], [SOMETHING])


def test_a_second_press_ends_the_command_at_once() -> None:
    assert run(SOMETHING, press, SOMETHING, press, "never") == ([SOMETHING, SOMETHING], [SOMETHING])


def test_without_a_press_the_command_goes_on() -> None:
    with stoppable(lambda: True, lambda _event: True) as stop:
        assert list(stop.watched(iter("abc"))) == ["a", "b", "c"]
    assert not stop.asked
