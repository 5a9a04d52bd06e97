"""How many threads decode: as many as asked, and fewer while something else keeps a core busy.

Knows measured times only; refuses to know llama.cpp. Decoding waits at a barrier after every graph node, so one thread
that has to share its core holds up all others: with one busy neighbour on two cores, one thread is twice as fast as
two.
"""

from collections.abc import Callable
from statistics import median
from typing import Final

_WINDOW: Final = 8
_PROBE: Final = 3
_PATIENCE: Final = 2.0
_SLOWER: Final = 1.4
_FASTER: Final = 0.87


class ThreadGovernor:
    """Chooses the thread count between tokens by trying its neighbours.

    1. After the first eight tokens, one thread less is tried for three; it stays when it is at least 13 % faster, and
       then the next one is tried.
    2. Later one thread less is tried when eight tokens took 1.4 times the best seen with this count.
    3. One thread more is tried after two seconds with fewer than were asked for; it stays when it is not slower.

    Args:
        most: Threads that were asked for.
        set_threads: Takes effect with the next token.
    """

    def __init__(self, most: int, set_threads: Callable[[int], None]) -> None:
        self._most = most
        self._set_threads = set_threads
        self._threads = most
        self._trying = 0
        self._times: list[float] = []
        self._usual = 0.0
        self._best: dict[int, float] = {}
        self._waited = 0.0
        self._fresh = True

    @property
    def threads(self) -> int:
        """The count in use."""
        return self._threads + self._trying

    def reset(self) -> None:
        """Go back to what was asked for: the next answer must not depend on measured times."""
        self._switch(self._most)

    def decoded(self, seconds: float) -> None:
        """Learn how long a token took; may change the count for the next one."""
        self._times.append(seconds)
        self._waited += seconds
        if self._trying:
            if len(self._times) > _PROBE:
                self._judge()
        elif len(self._times) >= _WINDOW:
            self._look_around()

    def _look_around(self) -> None:
        self._usual = median(self._times)
        best = self._best[self._threads] = min(self._usual, self._best.get(self._threads, self._usual))
        slow = self._fresh or self._usual > _SLOWER * best
        self._fresh = False
        self._times.clear()
        if slow and self._threads > 1:
            self._try(-1)
        elif self._threads < self._most and self._waited > _PATIENCE:
            self._try(1)

    def _try(self, step: int) -> None:
        self._trying = step
        self._waited = 0.0
        self._set_threads(self.threads)

    def _judge(self) -> None:
        """Stay with the tried count or go back; its first token still paid for the change and does not count."""
        tried = median(self._times[1:])
        wanted = _FASTER if self._trying < 0 else 1.0
        better = tried < wanted * self._usual
        self._fresh = better and self._trying < 0
        self._switch(self.threads if better else self._threads)

    def _switch(self, threads: int) -> None:
        changed = threads != self.threads
        self._threads, self._trying = threads, 0
        self._times.clear()
        self._waited = 0.0
        if changed:
            self._set_threads(threads)
