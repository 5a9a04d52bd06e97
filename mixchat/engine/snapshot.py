"""The file of a kept KV state: its bytes, and every reason not to use it.

Knows the format and what a state depends on; refuses to know where files lie and what llama.cpp does with a state.

Little-endian: magic, version and the header's length; the header, JSON; the tokens, uint32 each; the state. The header
has one spelling only, and the checksum is that of the whole file with zeros in the checksum's place.
"""

import hashlib
import json
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal

FlashAttention = Literal["on", "off", "unknown"]

MAGIC: Final = b"mixchat\0"
VERSION: Final = 1
HEADER_MAX: Final = 1 << 16
TOKENS_MAX: Final = 1 << 28
_PREFIX: Final = struct.Struct("<8sII")
_TOKEN: Final = 4
_NO_CHECKSUM: Final = "0" * 64
_STEP: Final = 1 << 24


class Unusable(Exception):
    """A kept state that is not used; its text is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must be the same where a state is kept and where it is used.

    Attributes:
        model: Identity of the model file and of the experts used.
        build: Of llama.cpp.
        kv_type: Type of the KV cache.
        flash_attention: Whether it computes the attention; the layout of V and the rounding depend on it.
        stretched: The context is longer than the one the model was first trained for. Models with two sets of RoPE
            factors (`rope_long`, `rope_short`) choose by it, and the keys depend on the choice.
    """

    model: str
    build: str
    kv_type: str
    flash_attention: FlashAttention
    stretched: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file's header.

    Attributes:
        conditions: What the state depends on.
        tokens: How many are evaluated.
        state_bytes: llama.cpp's state of them.
        sha256: Checksum, hexadecimal.
    """

    conditions: Conditions
    tokens: int
    state_bytes: int
    sha256: str = _NO_CHECKSUM

    def head(self) -> bytes:
        """Everything in front of the tokens; its length does not depend on the checksum."""
        plain = {**asdict(self.conditions), "tokens": self.tokens, "state": self.state_bytes, "sha256": self.sha256}
        body = json.dumps(plain, separators=(",", ":")).encode()
        return _PREFIX.pack(MAGIC, VERSION, len(body)) + body

    @property
    def state_at(self) -> int:
        """Offset of the state in the file."""
        return len(self.head()) + _TOKEN * self.tokens

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return self.state_at + self.state_bytes


def seal(data: memoryview, snapshot: Snapshot, tokens: Sequence[int], stopped: Callable[[], bool]) -> None:
    """Write header and tokens around a state that is there already.

    Args:
        data: The whole file, writable.
        snapshot: Its header, without the checksum.
        tokens: What is evaluated.
        stopped: Asked now and then whether to give up.

    Raises:
        Unusable: It was told to give up.
    """
    start = len(snapshot.head())
    data[start : snapshot.state_at] = _little(array("I", tokens)).tobytes()
    data[:start] = replace(snapshot, sha256=_checksum(data, snapshot, stopped)).head()


def opened(data: memoryview, expected: Conditions, room: int) -> Snapshot:
    """The header of a file, when everything that it says is right; the checksum is not looked at.

    Args:
        data: The whole file.
        expected: What holds here.
        room: Tokens that fit the context.

    Raises:
        Unusable: It is damaged, of something else, or too long.
    """
    snapshot = _parse(data)
    _compare(snapshot.conditions, expected)
    if snapshot.tokens > room:
        raise Unusable(f"The kept state has {snapshot.tokens} tokens and the context has room for {room}.")
    return snapshot


def verified(data: memoryview, snapshot: Snapshot, stopped: Callable[[], bool]) -> tuple[int, ...]:
    """The tokens of a file that is as it was written.

    Raises:
        Unusable: It is damaged, or it was told to give up.
    """
    if _checksum(data, snapshot, stopped) != snapshot.sha256:
        raise Unusable("The kept state is damaged: its checksum is not right.")
    return tuple(_little(array("I", bytes(data[len(snapshot.head()) : snapshot.state_at]))))


def _checksum(data: memoryview, snapshot: Snapshot, stopped: Callable[[], bool]) -> str:
    head = replace(snapshot, sha256=_NO_CHECKSUM).head()
    digest = hashlib.sha256(head)
    for start in range(len(head), len(data), _STEP):
        if stopped():
            raise Unusable("It was interrupted.")
        digest.update(data[start : start + _STEP])
    return digest.hexdigest()


def _little(tokens: "array[int]") -> "array[int]":
    if sys.byteorder == "big":  # pragma: no cover - no such machine
        tokens.byteswap()
    return tokens


def _parse(data: memoryview) -> Snapshot:
    """The header of a file whose size is as the header says."""
    if len(data) < _PREFIX.size or bytes(data[: len(MAGIC)]) != MAGIC:
        raise Unusable("The kept state is damaged: it does not begin as it should.")
    _magic, version, length = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise Unusable("The kept state was written by another version of mixchat.")
    end = _PREFIX.size + length
    if not 0 < length <= HEADER_MAX or end > len(data):
        raise Unusable("The kept state is damaged: its header has no possible length.")
    snapshot = _snapshot(bytes(data[_PREFIX.size : end]))
    if snapshot is None or snapshot.head() != bytes(data[:end]):
        raise Unusable("The kept state is damaged: its header makes no sense.")
    if snapshot.nbytes != len(data):
        raise Unusable("The kept state is damaged: its size is not right.")
    return snapshot


def _snapshot(header: bytes) -> Snapshot | None:
    """What a header says; None when it is not JSON of the right names and types."""
    try:
        plain = json.loads(header)
    except (ValueError, RecursionError):
        return None
    types = {"tokens": int, "state": int, "sha256": str, **{each.name: str for each in fields(Conditions)}}
    types["stretched"] = bool
    if not _has(plain, types):
        return None
    tokens, state = plain.pop("tokens"), plain.pop("state")
    if not (0 < tokens <= TOKENS_MAX and state > 0):
        return None
    checksum = plain.pop("sha256")
    return Snapshot(Conditions(**plain), tokens, state, checksum)


def _has(plain: Any, types: dict[str, type]) -> bool:  # noqa: ANN401 - whatever JSON says
    return (
        isinstance(plain, dict)
        and plain.keys() == types.keys()
        and all(type(plain[name]) is kind for name, kind in types.items())
    )


def _compare(kept: Conditions, here: Conditions) -> None:
    reasons = {
        "model": "is of another model, or of another number of experts",
        "build": "is of another build of llama.cpp",
        "kv_type": f"has a KV cache of type {kept.kv_type}, and it is {here.kv_type} now",
        "flash_attention": f"is of flash attention {kept.flash_attention}, and it is {here.flash_attention} now",
        "stretched": "was made with a context on the other side of the length that the model was first trained for",
    }
    for name, reason in reasons.items():
        if getattr(kept, name) != getattr(here, name):
            raise Unusable(f"The kept state {reason}.")
