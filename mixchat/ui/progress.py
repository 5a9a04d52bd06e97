"""Shows what is going on while there is no answer yet.

Knows a bar on the last line of a terminal; refuses to know what is loaded and by whom. The bar is one line that is
written over itself: no thread, no hidden cursor, nothing to put right afterwards but to erase it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, TextIO, TypeVar

from mixchat.app.events import Making, Measuring, Notice, Tracing
from mixchat.engine.events import Loading, Prefilling
from mixchat.models.streaming import Checking, Copying
from mixchat.plan.units import format_bytes
from mixchat.ui.console import can_encode, is_dumb, is_terminal, make_encodable, paint, width_of, wrapped, write_line
from mixchat.ui.sanitize import columns, single_line
from mixchat.ui.stats import format_speed

E = TypeVar("E")

_PATIENCE: Final = 0.3
_PREFILL_PATIENCE: Final = 0.5
_MUCH: Final = 512
"""Tokens whose prefill begins with a batch that takes a while: news comes only after it."""
_REDRAW: Final = 0.05
_LONGEST_BAR, _SHORTEST_BAR = 40, 5
_LONGEST_NAME: Final = 40
_FULL, _EMPTY = "━", "─"
ERASE: Final = "\r\x1b[2K"
"""Empties the terminal's line."""


def shown(
    events: Iterator[E], name: str, stream: TextIO, environ: Mapping[str, str], quiet: bool = False
) -> Iterator[E]:
    """Pass events through; draw a bar for those that tell progress, and write notices as lines.

    The bar begins after 0.3 s (prefill: 0.5 s) and is erased before any other event comes out and when the iterator
    ends, fails or is closed. No bar is drawn when `stream` is no terminal, when `TERM=dumb` and when
    `quiet`, which drops notices too.

    Args:
        events: Of `mixchat.app.events`.
        name: What the person calls the model.
        stream: Where the bar is drawn: stderr.
        environ: The environment.
        quiet: Show nothing.
    """
    progress = Progress(stream, environ, quiet)
    try:
        for event in events:
            progress.show(event, name)
            yield event
    finally:
        progress.end()


class Progress:
    """The bar, and the time since its phase began."""

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
        self._draws = is_terminal(stream) and not is_dumb(environ) and not quiet
        self._phase: type[object] | None = None
        self._since = clock()
        self._drawn_at: float | None = None
        self._traced = 0
        self._patience = _PATIENCE

    def show(self, event: object, name: str) -> None:
        """Draw, or erase when the event is none of progress."""
        self._patience = _PATIENCE
        match event:
            case Making(fraction):
                self._draw(Making, f"Making the {single_line(name, _LONGEST_NAME)} model", fraction, _percent(fraction))
            case Loading(fraction):
                self._draw(Loading, f"Loading {single_line(name, _LONGEST_NAME)}", fraction, _percent(fraction))
            case Measuring(what, fraction):
                self._draw(Measuring, "Measuring", fraction, what)
            case Prefilling(done, total):
                speed, left = self._prefill_speed(event)
                self._patience = 0.0 if total - done > _MUCH else _PREFILL_PATIENCE
                self._draw(
                    Prefilling,
                    "Prefill",
                    done / max(total, 1),
                    f"{done}/{total} tokens{speed}",
                    left,
                )
            case Tracing(what, fraction, tokens):
                if self._phase is not Tracing:
                    self._traced = tokens
                elapsed, since = self._clock() - self._since, tokens - self._traced
                speed = f", {format_speed(since / elapsed)}" if since and elapsed > 0 else ""
                self._draw(Tracing, f"Tracing {single_line(what, _LONGEST_NAME)}", fraction, f"{tokens} tokens{speed}")
            case Copying(done, total) | Checking(done, total):
                verb = "Copying" if isinstance(event, Copying) else "Checking"
                label, tail = f"{verb} {single_line(name, _LONGEST_NAME)}", self._bytes(done, total)
                self._draw(type(event), label, done / max(total, 1), tail)
            case Notice(text):
                self.end()
                if not self._quiet:
                    write_line(self._stream, wrapped(single_line(text), self._stream, self._environ))
            case _:
                self.end()

    def end(self) -> None:
        """Erase the bar."""
        if self._drawn_at is not None:
            self._write(ERASE)
        self._phase, self._drawn_at = None, None
        self._since = self._clock()

    def _draw(self, phase: type[object], label: str, fraction: float, tail: str, more: str = "") -> None:
        """Draw the bar; `more` goes behind the tail where that leaves room for the shortest bar."""
        if self._phase is not phase:
            if self._phase is not None:
                self.end()
            self._phase = phase
        now = self._clock()
        early = now - self._since < self._patience
        too_soon = self._drawn_at is not None and now - self._drawn_at < _REDRAW
        if self._draws and not early and not too_soon:
            width = width_of(self._stream, self._environ)
            fits = columns(label) + len(tail + more) + _SHORTEST_BAR + 3 <= width
            tail += more if fits else ""
            line = bar_line(label, fraction, tail, width)
            self._write(ERASE + coloured(line, self._stream, self._environ))
            self._drawn_at = now

    def _prefill_speed(self, event: Prefilling) -> tuple[str, str]:
        """Tokens per second, and the time that the rest takes at that speed."""
        seconds = self._clock() - self._since
        evaluated = event.done - event.cached
        if evaluated <= 0 or seconds <= 0:
            return "", ""
        speed = evaluated / seconds
        return f", {format_speed(speed)}", f", {_duration((event.total - event.done) / speed)} left"

    def _bytes(self, done: int, total: int) -> str:
        seconds = self._clock() - self._since
        speed = f", {format_bytes(round(done / seconds))}/s" if done and seconds > 0 else ""
        return f"{_percent(done / max(total, 1)).strip()} of {format_bytes(total)}{speed}"

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def coloured(line: str, stream: TextIO, environ: Mapping[str, str]) -> str:
    """A line of `bar_line` as a stream can show it."""
    if not can_encode(stream, _FULL):
        return line.replace(_FULL, "#").replace(_EMPTY, "-")
    done = _FULL * line.count(_FULL)
    return line.replace(done, paint(done, "cyan", stream, environ), 1) if done else line


def bar_line(label: str, fraction: float, tail: str, width: int) -> str:
    """A line of less than `width` columns; the bar goes first when room is short, then the end of the line."""
    room = min(width - 1 - columns(label) - len(tail) - 2, _LONGEST_BAR)
    if room < _SHORTEST_BAR:
        return single_line(f"{label} {tail}", max(width - 1, 0))
    done = round(min(max(fraction, 0.0), 1.0) * room)
    return f"{label} {_FULL * done}{_EMPTY * (room - done)} {tail}"


def _percent(fraction: float) -> str:
    return f"{100 * min(max(fraction, 0.0), 1.0):3.0f} %"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
