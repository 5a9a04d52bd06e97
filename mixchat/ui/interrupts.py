"""Ctrl-C while the engine works, Ctrl-Z, and keys typed meanwhile.

Knows signals and the terminal's modes; refuses to know what is being stopped.
"""

import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final, TextIO

_TWICE_SECONDS: Final = 2.0
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class LastPress:
    """When Ctrl-C was pressed last; pressed twice within two seconds it leaves the chat.

    Shared by the prompt and the answers, so that the first press may stop an answer and the second come at the prompt.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: float | None = None

    def again(self) -> bool:
        """Note a press; whether the one before was at most two seconds ago."""
        before, self._at = self._at, self._clock()
        return before is not None and self._at - before <= _TWICE_SECONDS

    def forget(self) -> None:
        """Something else was done since."""
        self._at = None


@dataclass(slots=True)
class Presses:
    """What Ctrl-C did while something ran.

    Attributes:
        count: How often it was pressed.
        killed: `second` was called.
        leaving: That press came within two seconds of the one before: the person wants to leave.
        answered: Set by the caller when the first press took effect and something else goes on; the next one is a
            first again.
    """

    count: int = 0
    killed: bool = False
    leaving: bool = False
    answered: bool = False


@contextmanager
def interrupts(
    first: Callable[[], None], second: Callable[[], None], last: LastPress | None = None
) -> Iterator[Presses]:
    """Call `first` at the first Ctrl-C and `second`, once, at the second, instead of raising KeyboardInterrupt.

    A press more than two seconds after the one before is a first again if that was answered (see Presses). Where Ctrl-C
    is ignored (a script's background job), it stays so. For the main thread only.

    Args:
        first: Asks what runs to stop.
        second: Ends it whatever it does.
        last: Where presses are noted; the prompt's, for a chat.
    """
    presses, noted = Presses(), last or LastPress()

    def pressed(_signal: int, _frame: FrameType | None) -> None:
        twice = noted.again()
        presses.count += 1
        if presses.count == 1 or (presses.answered and not twice):
            presses.answered = False
            first()
        elif not presses.killed:
            presses.killed, presses.leaving = True, twice
            second()

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.SIG_IGN:
        yield presses
        return
    signal.signal(signal.SIGINT, pressed)
    try:
        yield presses
    finally:
        signal.signal(signal.SIGINT, previous or signal.SIG_DFL)


@contextmanager
def ending_put_off(noted: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let SIGTERM and SIGHUP call `noted` in the block, and run their own handlers only behind it.

    An exception that a handler raises in the middle of some library's work may be swallowed, or leave it unfinished.
    """
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        noted()

    handlers = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            handlers[signal.Signals(came[0])](came[0], None)


@contextmanager
def modes(enter: Callable[[], None], leave: Callable[[], None]) -> Iterator[None]:
    """Keep the terminal in some modes for the block, but not while Ctrl-Z has stopped the program."""
    with _stoppable(enter, leave):
        try:
            enter()
            yield
        finally:
            leave()


@contextmanager
def keys_held(terminal: TextIO) -> Iterator[None]:
    """Show no keys that are typed meanwhile, `^C` included, which throws away none; they wait for the next prompt."""
    try:
        descriptor = terminal.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield
        return
    held = [*before]
    held[0] &= ~termios.ICRNL
    held[3] = held[3] & ~(termios.ECHO | termios.ICANON) | termios.NOFLSH
    with modes(lambda: _set(descriptor, held), lambda: _set(descriptor, before)):
        yield


def _set(descriptor: int, attributes: "termios._AttrReturn") -> None:
    with suppress(termios.error):
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


@contextmanager
def _stoppable(enter: Callable[[], None], leave: Callable[[], None]) -> Iterator[None]:
    previous = signal.getsignal(signal.SIGTSTP)
    if previous is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        leave()
        if callable(previous):
            previous(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(signal.Signals(number))
        signal.signal(number, stop)
        enter()

    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, previous or signal.SIG_DFL)
