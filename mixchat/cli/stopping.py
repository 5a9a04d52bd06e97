"""Ctrl-C in a command whose work has something to show although it was not finished.

Knows when a first Ctrl-C stops the work and when it ends the command; refuses to know what the work is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mixchat.ui.interrupts import interrupts

E = TypeVar("E")


class Stop:
    """What Ctrl-C asks of the work.

    Attributes:
        asked: It was pressed: the work is to end soon.
    """

    def __init__(self, interrupt: Callable[[], bool], begun: Callable[[object], bool]) -> None:
        self._interrupt = interrupt
        self._begun = begun
        self._showable = False
        self.asked = False

    def watched(self, events: Iterator[E]) -> Iterator[E]:
        """Pass on what happens, and see whether there is something to show by now."""
        for event in events:
            self._showable = self._begun(event)
            yield event

    def first(self) -> None:
        """Stop the work, or where that would show nothing, end the command."""
        self.asked = True
        if not (self._showable and self._interrupt()):
            give_up()


def give_up() -> None:
    """End the command as an unhandled Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def stoppable(interrupt: Callable[[], bool], begun: Callable[[object], bool]) -> Iterator[Stop]:
    """Have the first Ctrl-C stop the work, and the command end behind the block; the second ends it at once.

    Yields:
        What the events of the work must be passed through.

    Args:
        interrupt: Stops the work; False when there is nothing to wait for.
        begun: Whether a stop right after this event leaves something to show.
    """
    stop = Stop(interrupt, begun)
    with interrupts(stop.first, give_up):
        yield stop
    if stop.asked:
        give_up()
