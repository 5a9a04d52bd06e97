"""Which requests should stop.

Knows their ids and llama.cpp's abort flag; refuses to know what the requests are.
"""

from threading import Lock

from mixchat.engine.worker.bindings import AbortFlag


class Cancels:
    """Which requests should stop, shared between the reading thread and the computing one."""

    def __init__(self, abort: AbortFlag) -> None:
        self._abort = abort
        self._lock = Lock()
        self._ids: set[int] = set()

    def add(self, request_id: int) -> None:
        """Ask for a stop, now."""
        with self._lock:
            self._ids.add(request_id)
            self._abort.set()

    def take(self) -> set[int]:
        """The requests to stop since the last call; computations may run again."""
        with self._lock:
            taken, self._ids = self._ids, set()
            self._abort.clear()
            return taken
