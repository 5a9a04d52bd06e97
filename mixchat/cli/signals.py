"""How a command ends by a signal: cleaned up, and then by that signal.

Knows signals and exit statuses; refuses to know what there is to clean. A shell loop stops when its command died by
SIGINT and goes on when it merely returned 130, so the default handler is restored and the signal raised again.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Signalled(BaseException):
    """The command is to end by a signal; not an Exception, so that nothing on the way takes it for an error."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number


@contextmanager
def ends_by_signal() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into Signalled within the block, so that its cleaning runs."""
    before = {number: signal.signal(number, _raise) for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def as_signals() -> Iterator[None]:
    """Turn Ctrl-C and a closed pipe into Signalled before anything else takes them for its own."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Signalled(signal.SIGINT) from error
    except BrokenPipeError as error:
        raise Signalled(signal.SIGPIPE) from error


def die_by(number: signal.Signals) -> NoReturn:
    """End this process by a signal's default action."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os._exit(128 + number)


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise Signalled(signal.Signals(number))
