"""How the front and the worker speak: length-prefixed JSON frames, each with a request id.

Knows frames and which values may cross; refuses to know what they mean. Values are frozen dataclasses, rebuilt only
from the closed list below, so that nothing else can be made from bytes.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Final

from mixchat import errors
from mixchat.chat.messages import Control, Message, Text
from mixchat.engine import events, tracing
from mixchat.errors import EngineError, MixchatError
from mixchat.plan.values import Override

MAX_FRAME: Final = 64 * 2**20
_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class AskDevices:
    """Answered by `Devices`, those of the RPC servers (HOST:PORT) among them."""

    rpc: tuple[str, ...] = ()


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
class AskTexts:
    """The text of each token; answered by `Texts`."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of consecutive tokens, one for each."""

    texts: tuple[str, ...]


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
class AskGrammar:
    """Compile a grammar and forget it; answered by `GrammarFits`, or an error that says what is wrong with it."""

    text: str


@dataclass(frozen=True, slots=True)
class GrammarFits:
    """A grammar can be compiled."""


@dataclass(frozen=True, slots=True)
class AskEvaluate:
    """Evaluate tokens without an answer; answered by `Prefilling` events and `Evaluated`."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The end of an evaluation, be it cancelled or not."""


@dataclass(frozen=True, slots=True)
class AskKeepState:
    """Write what is evaluated to `path`; answered by `StateKept`. `build`: identity of llama.cpp's build."""

    path: str
    key: events.StateKey
    build: str


@dataclass(frozen=True, slots=True)
class AskRestoreState:
    """Put a kept state in the place of what is evaluated; answered by `StateRestored`."""

    path: str
    key: events.StateKey
    build: str


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
class AskMeasure:
    """How fast a device computes; answered by `Measured`.

    Attributes:
        device: Its name.
        weights: ggml's name of a type of weights; empty: what depends on none.
        threads: Compute threads of a CPU.
        extra_buffers: Keep them in llama.cpp's extra buffers.
        size: Bytes that one run reads; more than any cache holds.
    """

    device: str
    weights: str
    threads: int
    extra_buffers: bool
    size: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures as in `plan.values.Rates` and `Link`; 0 where the device gives none, or it was not asked for.

    Attributes:
        decode: Of the type asked for.
        prefill: Of the type asked for.
        routed_decode: The same of experts, counting the bytes of those that a token uses.
        routed_prefill: Likewise.
        bandwidth: See Rates.
        attention: See Rates.
        node: See Rates.
        mapped: See Link.
        pinned: See Link.
        latency: See Link.
        quiet: No other process took a noticeable part of the processor meanwhile.
    """

    decode: float = 0.0
    prefill: float = 0.0
    routed_decode: float = 0.0
    routed_prefill: float = 0.0
    bandwidth: float = 0.0
    attention: float = 0.0
    node: float = 0.0
    mapped: float = 0.0
    pinned: float = 0.0
    latency: float = 0.0
    quiet: bool = True


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
        details: The error's further attributes, by name.
    """

    kind: str
    message: str
    hint: str
    details: tuple[tuple[str, str | float | None], ...] = ()


def failure(error: MixchatError) -> Failed:
    """An error as a message; `error_of` makes it an error again."""
    plain = ("message", "hint")
    details = tuple((name, value) for name, value in vars(error).items() if name not in plain)
    return Failed(type(error).__name__, error.message, error.hint, details)


def error_of(failed: Failed) -> MixchatError:
    """The error that the other side raised, whatever its constructor takes."""
    cls = getattr(errors, failed.kind, EngineError)
    if not (isinstance(cls, type) and issubclass(cls, MixchatError)):
        cls = EngineError
    error = cls.__new__(cls, failed.message)
    error.__dict__.update(dict(failed.details), message=failed.message, hint=failed.hint)
    return error


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A request that ended without an answer because it was cancelled."""


_TYPES: Final[dict[str, type]] = {
    cls.__name__: cls
    for cls in (
        *(AskDevices, Devices, AskLoad, AskTokens, Tokens, AskTexts, Texts, AskRender, Rendered, AskGenerate),
        *(AskKeepState, AskRestoreState, events.StateKey, events.StateKept, events.StateRestored),
        *(AskProbe, Probed, AskMeasure, Measured, Cancel, Cancelled, Failed, Control, Message, Text, Override),
        *(events.Sampling, events.Loading, events.Prefilling, events.Token, events.Usage, events.Timings),
        *(events.Finished, events.DeviceInfo, events.BufferSize, events.Loaded, events.LoadRequest),
        *(events.GenerateRequest, AskEvaluate, Evaluated, AskGrammar, GrammarFits),
        *(events.TraceRequest, tracing.AskTrace, tracing.Routed, tracing.Traced),
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
