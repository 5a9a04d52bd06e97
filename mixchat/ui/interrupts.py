"""Ctrl-C while the engine works, and keys typed meanwhile.

Knows SIGINT and the terminal's modes; refuses to know what is being stopped.
"""

import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TextIO

_KILLED_AT = 2


@dataclass(slots=True)
class Presses:
    """How often Ctrl-C was pressed."""

    count: int = 0

    @property
    def killed(self) -> bool:
        """Whether it was pressed again before the first took effect."""
        return self.count >= _KILLED_AT


@contextmanager
def interrupts(first: Callable[[], None], second: Callable[[], None]) -> Iterator[Presses]:
    """Call `first` at the first Ctrl-C and `second` at the second, instead of raising KeyboardInterrupt.

    Where Ctrl-C is ignored (a script's background job), it stays so. For the main thread only.
    """
    presses = Presses()

    def pressed(_signal: int, _frame: FrameType | None) -> None:
        presses.count += 1
        if presses.count == 1:
            first()
        elif presses.count == _KILLED_AT:
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
    termios.tcsetattr(descriptor, termios.TCSANOW, held)
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
