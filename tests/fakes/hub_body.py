"""What the fake hub keeps, how it sends a file, and what a fault makes of it."""

import hashlib
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes.hub import _Handler

PIECE = 256 << 10


class Content:
    """A file's content, in memory or on the disk; the hash is known once it is asked for."""

    def __init__(self, data: bytes | Path, *, lfs: bool = True) -> None:
        self.data = data
        self.lfs = lfs
        self.size = data.stat().st_size if isinstance(data, Path) else len(data)
        self._sha256 = ""

    @property
    def sha256(self) -> str:
        if not self._sha256:
            sha256 = hashlib.sha256()
            for piece in self.pieces(0, self.size):
                sha256.update(piece)
            self._sha256 = sha256.hexdigest()
        return self._sha256

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        if isinstance(self.data, bytes):
            for offset in range(start, end, PIECE):
                yield self.data[offset : min(offset + PIECE, end)]
            return
        with self.data.open("rb") as file:
            file.seek(start)
            while start < end and (piece := file.read(min(PIECE, end - start))):
                start += len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came; `origin` is `hub` or `cdn`."""

    origin: str
    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass(slots=True)
class Repo:
    """A repository: its files by commit, the last commit being `main`."""

    commits: dict[str, dict[str, Content]] = field(default_factory=dict)
    gated: bool = False

    def at(self, revision: str) -> tuple[str, dict[str, Content]] | None:
        commit = next(reversed(self.commits)) if revision == "main" else revision
        return (commit, self.commits[commit]) if commit in self.commits else None


def send_body(handler: "_Handler", path: str, content: Content, faults: "dict[str, int]") -> None:
    """Answer a GET or HEAD of a file, with its range."""
    wanted = handler.headers.get("Range")
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
    ranged = found is not None and "no-range" not in faults
    start = int(found[1]) if found and ranged else 0
    end = min(int(found[2]) + 1, content.size) if found and ranged and found[2] else content.size
    if ranged and start >= content.size:
        handler.say(416, b"", Content_Range=f"bytes */{content.size}")
        return
    start += faults.get("shift", 0)
    _send_head(handler, content, (start, end, ranged), faults)
    if handler.command != "HEAD":
        with handler.hub.body():
            _Sender(handler, path, faults).send(content, start, end)


def _send_head(handler: "_Handler", content: Content, extent: tuple[int, int, bool], faults: "dict[str, int]") -> None:
    start, end, ranged = extent
    more = faults.get("long-length", 0)
    handler.send_response(206 if ranged else 200)
    handler.send_header("ETag", '"' + ("another" if {"etag", "other"} & faults.keys() else content.sha256[:32]) + '"')
    if handler.commit:
        handler.send_header("X-Repo-Commit", handler.commit)
    if ranged:
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{content.size + more}")
    if "gzip" in faults:
        handler.send_header("Content-Encoding", "gzip")
    if "chunked" in faults:
        handler.send_header("Transfer-Encoding", "chunked")
    elif not {"no-length", "extra"} & faults.keys():
        handler.send_header("Content-Length", str(end - start + more - faults.get("short-length", 0)))
    if {"no-length", "extra", "long-length", "short-length"} & faults.keys():
        handler.send_header("Connection", "close")
        handler.close_connection = True
    handler.end_headers()


class _Sender:
    """Sends a body piece by piece, counting what the system took."""

    def __init__(self, handler: "_Handler", path: str, faults: "dict[str, int]") -> None:
        self._handler = handler
        self._path = path
        self._faults = faults
        self._sent = 0
        self._stop = min(faults[name] for name in ("reset", "fin") if name in faults) if self._cut else None

    @property
    def _cut(self) -> bool:
        return bool({"reset", "fin"} & self._faults.keys())

    def send(self, content: Content, start: int, end: int) -> None:
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 << 10)
        end -= self._faults.get("short-length", 0)
        offset = start
        for piece in content.pieces(start, end):
            data = self._spoiled(piece, offset)
            room = len(data) if self._stop is None else min(len(data), start + self._stop - offset)
            self._write(data[:room])
            self._handler.hub.stopping.wait(self._handler.hub.pace)
            offset += len(piece)
            if room < len(data):
                break
        if self._cut:
            self._hang_up()
        elif "chunked" in self._faults:
            self._handler.wfile.write(b"0\r\n\r\n")
        self._write(b"x" * self._faults.get("extra", 0))

    def _write(self, data: bytes) -> None:
        if "stall" in self._faults:
            quick = min(max(self._faults["stall"] - self._sent, 0), len(data))
            self._sent += quick
            self._put(data[:quick])
            for index in range(quick, len(data)):
                if self._handler.hub.stopping.wait(1.0):
                    raise ConnectionAbortedError
                self._put(data[index : index + 1])
        elif data:
            self._put(data)

    def _put(self, data: bytes) -> None:
        if "chunked" in self._faults:
            self._handler.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
            self._handler.hub.count(self._path, len(data))
            return
        rest = memoryview(data)
        while rest:
            count = self._handler.connection.send(rest)
            self._handler.hub.count(self._path, count)
            rest = rest[count:]

    def _spoiled(self, piece: bytes, offset: int) -> bytes:
        if "other" in self._faults:
            return bytes(byte ^ 0xFF for byte in piece) if offset else piece[:4] + bytes(len(piece) - 4)
        byte, bit = divmod(self._faults.get("flip", -1), 8)
        if not offset <= byte < offset + len(piece):
            return piece
        spoiled = bytearray(piece)
        spoiled[byte - offset] ^= 1 << bit
        return bytes(spoiled)

    def _hang_up(self) -> None:
        """End the connection: by a reset, or as if all were said."""
        self._handler.close_connection = True
        if "reset" in self._faults:
            self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._handler.connection.close()
