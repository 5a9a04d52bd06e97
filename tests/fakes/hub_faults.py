"""What can go wrong between a hub and its client, by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Literal

Where = Literal["api", "resolve", "cdn"]
Name = Literal[
    "status",  # an answer of that status (amount)
    "busy",  # 429 with Retry-After: amount seconds
    "reset",  # the connection is reset after amount bytes of the body
    "fin",  # the connection ends after amount bytes of the body
    "no-range",  # the whole file, whatever range was asked for
    "shift",  # the range that comes begins amount bytes too late
    "long-length",  # Content-Length and Content-Range say amount bytes too many
    "short-length",  # Content-Length says amount bytes too few, and no more come
    "no-length",  # no Content-Length: the end of the connection is the end
    "extra",  # amount bytes too many come
    "chunked",  # chunked encoding
    "gzip",  # says that the body is compressed
    "login",  # the login page of a captive portal instead of everything
    "etag",  # the content has another name
    "other",  # other content under another name
    "stall",  # after amount bytes, a byte at a time
    "expired",  # the signed link is refused
    "flip",  # the bit at that place (amount) is another
    "garbage",  # JSON that makes no sense
]


@dataclass(slots=True)
class Fault:
    """One kind of trouble.

    Attributes:
        amount: See its name.
        times: Requests that it meets; None is all of them.
        where: The hub's API, its links, or the second origin.
    """

    name: Name
    amount: int = 0
    times: int | None = 1
    where: Where = "cdn"


class Faults:
    """The troubles to come: of those that pass, one per request in their order; of the others, all."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, where: Where) -> dict[str, int]:
        """The amounts by name for one request."""
        with self._lock:
            return dict(self._taken(where))

    def _taken(self, where: Where) -> Iterator[tuple[str, int]]:
        passing = False
        for fault in self._faults:
            if fault.where != where or fault.times == 0:
                continue
            if fault.times is not None:
                if passing:
                    continue
                passing = True
                fault.times -= 1
            yield fault.name, fault.amount
