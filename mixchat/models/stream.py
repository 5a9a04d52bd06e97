"""The bytes of a remote file as they come.

Knows how to tell a file from a login page, where a stream really begins and whether it is too slow; refuses to know
who asked for it.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mixchat.errors import NetworkError, Transient
from mixchat.gguf.header import MAGIC
from mixchat.models.answers import LATER, content_range
from mixchat.models.patience import Patience
from mixchat.models.remote import RemoteFile

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx

_PARTIAL = 206


class Stream:
    """The bytes of a file from `start` on.

    Attributes:
        start: Where they begin: 0 when the server does not serve ranges.
        tag: Names the content: as long as it stays the same, bytes of two streams belong together.
    """

    def __init__(self, response: "httpx.Response", start: int, tag: str, patience: Patience) -> None:
        self.start = start
        self.tag = tag
        self._chunks = response.iter_raw()
        self._first = b""
        self._patience = patience

    def peek(self, count: int) -> bytes:
        """The first bytes, which stay in the stream; fewer when it ends before."""
        while len(self._first) < count and (chunk := next(self._chunks, b"")):
            self._first += chunk
        return self._first[:count]

    def chunks(self) -> Iterator[bytes]:
        """Its bytes in pieces.

        Raises:
            Transient: They come too slowly. (What else can happen to a connection becomes one in `Hub.open`.)
        """
        if self._first:
            yield self._first
        since, count = time.monotonic(), 0
        for chunk in self._chunks:
            yield chunk
            count += len(chunk)
            elapsed = time.monotonic() - since
            if elapsed < self._patience.stall:
                continue
            if count < self._patience.floor * elapsed:
                raise Transient(f"Only {count} bytes came in {elapsed:.0f} seconds.", LATER)
            since, count = time.monotonic(), 0


def opened(response: "httpx.Response", file: RemoteFile, start: int, patience: Patience) -> Stream:
    """Begin to read an answer that brings a file.

    Args:
        response: Of status 200 or 206.
        file: What was asked for.
        start: Where it was asked to begin.
        patience: How slow it may be.

    Raises:
        NetworkError: It is not the file, or it is compressed.
        Transient: It begins elsewhere than asked, or announces another size.
    """
    headers = response.headers
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise NetworkError(f"{file.path} comes compressed, although it was asked for as it is.", "Check HF_ENDPOINT.")
    begin, size = _extent(response.status_code, headers.get("content-range"), headers.get("content-length"))
    if begin not in {0, start}:
        raise Transient(f"{file.path} begins at byte {begin} instead of {start}.", LATER)
    stream = Stream(response, begin, _tag(response), patience)
    _check_start(stream, file)
    if size not in {None, file.size}:
        raise Transient(f"{file.path} is announced with {size} bytes instead of {file.size}.", LATER)
    return stream


def _extent(status: int, ranged: str | None, length: str | None) -> tuple[int, int | None]:
    """Where an answer begins, and the whole file's size where it says so."""
    if status == _PARTIAL:
        return content_range(ranged) or (-1, None)
    return 0, int(length) if length and length.isascii() and length.isdecimal() else None


def _check_start(stream: Stream, file: RemoteFile) -> None:
    """A captive portal answers every address with its login page, and says 200."""
    named_gguf = file.path.lower().endswith(".gguf")
    if stream.start == 0 and named_gguf and not MAGIC.startswith(stream.peek(len(MAGIC))):
        raise NetworkError(
            f"What comes for {file.path} is no GGUF file; it may be the login page of this network.",
            "Open any page in a browser and log in, then run the same command again.",
        )


def _tag(response: "httpx.Response") -> str:
    return response.headers.get("etag", "").removeprefix("W/").strip('"')
