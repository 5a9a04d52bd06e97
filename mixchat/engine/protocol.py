"""How the front and the worker speak: length-prefixed JSON frames, each with a request id.

Knows frames and which values may cross; refuses to know what they mean. Values are frozen dataclasses, rebuilt only
from the closed list below, so that nothing else can be made from bytes.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Final

from mixchat.chat.messages import Control, Message, Text
from mixchat.engine import events

MAX_FRAME: Final = 64 * 2**20
_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class AskDevices:
    """Answered by `Devices`."""


@dataclass(frozen=True, slots=True)
class Devices:
    """All devices that llama.cpp can use."""

    devices: tuple[events.DeviceInfo, ...]


@dataclass(frozen=True, slots=True)
class AskLoad:
    """Answered by `Loading` events and `Loaded`."""

    request: events.LoadRequest


@dataclass(frozen=True, slots=True)
class AskTokens:
    """Tokens of each piece; answered by `Tokens`. `prompt`: put BOS in front if the vocabulary asks for one."""

    pieces: tuple[Control | Text, ...]
    prompt: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids, one tuple for each piece."""

    ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class AskRender:
    """A chat template to render, untrusted; answered by `Rendered`."""

    template: str
    messages: tuple[Message, ...]
    bos: str
    eos: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the template made of the messages."""

    text: str


@dataclass(frozen=True, slots=True)
class AskGenerate:
    """Answered by `Prefilling` and `Token` events and `Finished`."""

    request: events.GenerateRequest


@dataclass(frozen=True, slots=True)
class AskProbe:
    """Write a tiny model to `path` and run it; answered by `Probed`."""

    path: str
    extra_buffers: bool


@dataclass(frozen=True, slots=True)
class Probed:
    """Logits of the tiny model's last prefilled and first decoded token."""

    logits: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the request of that id; it still answers, with what it has."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that could not be answered; the worker goes on.

    Attributes:
        kind: The error class's name in mixchat.errors.
        message: The cause, not cleaned for a terminal.
        hint: What to do next.
    """

    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A request that ended without an answer because it was cancelled."""


_TYPES: Final[dict[str, type]] = {
    cls.__name__: cls
    for cls in (
        *(AskDevices, Devices, AskLoad, AskTokens, Tokens, AskRender, Rendered, AskGenerate, AskProbe, Probed),
        *(Cancel, Cancelled, Failed, Control, Message, Text),
        *(events.Sampling, events.Loading, events.Prefilling, events.Token, events.Usage, events.Timings),
        *(events.Finished, events.DeviceInfo, events.BufferSize, events.Loaded, events.LoadRequest),
        events.GenerateRequest,
    )
}


class ProtocolError(Exception):
    """The other side sent what no side of ours sends: a bug, or not our worker."""


def encode(request_id: int, message: object) -> bytes:
    """Frame a message: four bytes of length, big endian, then JSON."""
    body = json.dumps([request_id, _plain(message)], ensure_ascii=True, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a frame of {len(body)} bytes exceeds {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> tuple[int, object]:
    """Rebuild request id and message from a frame's body.

    Raises:
        ProtocolError: It is not what `encode` makes.
    """
    try:
        request_id, value = json.loads(body)
        return int(request_id), _value(value)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProtocolError(f"a malformed frame: {error}") from error


class FrameBuffer:
    """Cuts a stream of bytes into frames' bodies."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bodies that `data` completes; the rest is kept.

        Raises:
            ProtocolError: A length beyond MAX_FRAME.
        """
        self._bytes += data
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > MAX_FRAME:
                raise ProtocolError(f"a frame of {length} bytes exceeds {MAX_FRAME}")
            end = _LENGTH.size + length
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_LENGTH.size : end])
            del self._bytes[:end]
            yield body


def _plain(value: object) -> object:
    if is_dataclass(value):
        named = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **named}
    if isinstance(value, tuple):
        return [_plain(item) for item in value] if value and not isinstance(value[0], int | float) else value
    return value


def _value(plain: object) -> object:
    if isinstance(plain, dict):
        return _TYPES[plain.pop("type")](**{name: _value(item) for name, item in plain.items()})
    if isinstance(plain, list):
        return tuple(_value(item) for item in plain)
    return plain
