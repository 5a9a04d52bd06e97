"""Bringing the bytes of one file into its part, whatever the network does.

Knows when to try again, when bytes belong together and when to give up; refuses to know whether the bytes are right.
"""

import time
from collections.abc import Iterator

from mixchat.errors import NetworkError, Transient
from mixchat.models.answers import LATER
from mixchat.models.events import Downloading, FetchEvent, Waiting
from mixchat.models.hub import Hub
from mixchat.models.part import Part
from mixchat.models.remote import RemoteFile

_EVERY = 0.1


def transfer(hub: Hub, file: RemoteFile, part: Part) -> Iterator[FetchEvent]:
    """Complete a part.

    A failure after progress is as good as none; only failures in a row without progress count, and a try makes progress
    when it gets further than all before it.

    Raises:
        NetworkError: It does not work.
        NotFound: The hub does not have the file.
        OutputError: The disk failed.
    """
    failures, furthest = 0, part.done
    yield Downloading(part.done, file.size)
    while part.done < file.size:
        try:
            yield from _try(hub, file, part)
        except Transient as exc:
            failures = 1 if part.done > furthest else failures + 1
            furthest = max(furthest, part.done)
            if failures >= hub.patience.tries:
                raise NetworkError(f"{exc.message} That was try {failures} in a row.", exc.hint) from exc
            yield from _pause(hub.patience.pause(failures, exc.retry_after), exc.message)
    yield Downloading(part.done, file.size)


def _try(hub: Hub, file: RemoteFile, part: Part) -> Iterator[FetchEvent]:
    """Ask once for what is missing, and append what comes."""
    shown = time.monotonic()
    with hub.open(file, part.done) as stream:
        _join(part, stream.start, stream.tag)
        for chunk in stream.chunks():
            part.write(chunk[: file.size - part.done])  # a slice of all of it is no copy
            if part.done == file.size:
                return
            if time.monotonic() - shown > _EVERY:
                shown = time.monotonic()
                yield Downloading(part.done, file.size)
    raise Transient(f"The connection ended after {part.done} of {file.size} bytes.", LATER)


def _join(part: Part, start: int, tag: str) -> None:
    """Make sure that what comes continues what is there."""
    same = part.tag in {"", tag}
    if start and not same:
        part.restart()
        raise Transient("The file has changed on the hub.", LATER)
    if start != part.done:
        part.restart(tag)
    elif part.tag != tag:
        part.name(tag)


def _pause(seconds: float, why: str) -> Iterator[Waiting]:
    yield Waiting(seconds, why)
    time.sleep(seconds)
