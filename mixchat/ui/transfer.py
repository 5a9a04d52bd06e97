"""Shows a download: a bar with speed and time left on a terminal, a line every few seconds elsewhere.

Knows how far, how fast and how long; refuses to know what is fetched and from where. The bar is that of `progress`: one
line that is written over itself.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TextIO

from mixchat.models.events import Downloading, Verifying, Waiting
from mixchat.plan.units import format_bytes
from mixchat.ui.console import is_dumb, is_terminal, make_encodable, width_of, write_line
from mixchat.ui.progress import ERASE, bar_line, coloured
from mixchat.ui.sanitize import single_line

_REDRAW: Final = 0.1
_EVERY: Final = 5.0
_WINDOW: Final = 10.0
_LEAST: Final = 0.5
_LONGEST_NAME: Final = 40
_MINUTE, _HOUR = 60, 3600


class Transfer:
    """What is shown of a download.

    Args:
        stream: Where: stderr.
        environ: The environment.
        quiet: Show nothing.
        clock: Seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        environ: Mapping[str, str],
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = make_encodable(stream)
        self._environ = environ
        self._quiet = quiet
        self._clock = clock
        self._draws = is_terminal(stream) and not is_dumb(environ)
        self._samples: deque[tuple[float, int]] = deque()
        self._phase = ""
        self._shown_at: float | None = None
        self._drawn = False
        self._waited_for = ""

    def show(self, event: Downloading | Verifying | Waiting, name: str) -> None:
        """Show an event of the model that a person calls so."""
        if self._quiet:
            return
        match event:
            case Downloading(done, total):
                self._step(f"Downloading {single_line(name, _LONGEST_NAME)}", done, total)
            case Verifying(done, total):
                self._step(f"Checking {single_line(name, _LONGEST_NAME)}", done, total)
            case Waiting(seconds, why):
                self._wait(seconds, why)

    def end(self) -> None:
        """Erase the bar."""
        if self._drawn:
            self._write(ERASE)
        self._drawn = False

    def _step(self, label: str, done: int, total: int) -> None:
        now = self._clock()
        if label != self._phase:
            self._phase, self._shown_at = label, None
            self._samples.clear()
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, done))
        while now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        pause = _REDRAW if self._draws else _EVERY
        first_or_last = self._shown_at is None or done == total
        if first_or_last or now - (self._shown_at or 0.0) >= pause:
            self._shown_at = now
            self._put(label, done, total)

    def _put(self, label: str, done: int, total: int) -> None:
        fraction, tail = done / max(total, 1), _tail(done, total, self._speed())
        if self._draws:
            line = bar_line(label, fraction, f"{100 * fraction:3.0f} % {tail}", width_of(self._stream, self._environ))
            self._write(ERASE + coloured(line, self._stream, self._environ))
            self._drawn = True
        else:
            write_line(self._stream, f"{label}: {100 * fraction:.0f} %, {tail}")

    def _speed(self) -> float | None:
        """Bytes per second of the last seconds; None when that is too early to say."""
        (since, before), (now, done) = self._samples[0], self._samples[-1]
        return (done - before) / (now - since) if now - since >= _LEAST else None

    def _wait(self, seconds: float, why: str) -> None:
        if why != self._waited_for or seconds > 1:
            self.end()
            again = f" Trying again in {seconds:.0f} s." if seconds > 1 else ""
            write_line(self._stream, single_line(why) + again)
        self._waited_for, self._shown_at = why, None
        self._samples.clear()

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def format_left(seconds: float) -> str:
    """A time such as `40 s`, `9 min` or `2 h 5 min`."""
    if seconds < _MINUTE:
        return f"{max(seconds, 1):.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"


def _tail(done: int, total: int, speed: float | None) -> str:
    size = f"{format_bytes(done)} of {format_bytes(total)}"
    if speed is None or done == total:
        return size
    left = f", {format_left((total - done) / speed)} left" if speed >= 1 else ""
    return f"{size}, {format_bytes(int(speed))}/s{left}"
