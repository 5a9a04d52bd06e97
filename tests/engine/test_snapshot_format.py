"""The bytes of a kept KV state; llama.cpp has no part in it."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.engine import snapshot as module
from mixchat.engine.snapshot import MAGIC, Conditions, Snapshot, Unusable, opened, seal, verified

HERE = Conditions("model", "build", "f16", "on", stretched=False)
TOKENS = (1, 2, 3, 0xFFFFFFFF)


def go_on() -> bool:
    return False


def kept(conditions: Conditions = HERE, tokens: tuple[int, ...] = TOKENS, state: bytes = b"the state") -> bytes:
    found = Snapshot(conditions, len(tokens), len(state))
    data = bytearray(found.nbytes)
    data[found.state_at :] = state
    seal(memoryview(data), found, tokens, go_on)
    return bytes(data)


def read(data: bytes, expected: Conditions = HERE, room: int = 99) -> tuple[tuple[int, ...], bytes]:
    view = memoryview(data)
    found = opened(view, expected, room)
    return verified(view, found, go_on), bytes(view[found.state_at :])


def refused(data: bytes, expected: Conditions = HERE, room: int = 99) -> str:
    with pytest.raises(Unusable) as caught:
        read(data, expected, room)
    return str(caught.value)


def with_header(body: bytes, rest: bytes = b"") -> bytes:
    """A file around a header of our own, with the checksum that it should have."""
    none = b"0" * 64

    def around(checksum: bytes) -> bytes:
        whole = body.replace(b"CHECKSUM", checksum)
        return MAGIC + (1).to_bytes(4, "little") + len(whole).to_bytes(4, "little") + whole + rest

    return around(hashlib.sha256(around(none)).hexdigest().encode())


PLAIN: dict[str, object] = {
    "model": "model",
    "build": "build",
    "kv_type": "f16",
    "flash_attention": "on",
    "stretched": False,
    "tokens": 1,
    "state": 3,
    "sha256": "CHECKSUM",
}
REST = b"\5\0\0\0abc"


def spelled(plain: object) -> bytes:
    return json.dumps(plain, separators=(",", ":")).encode()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50), st.binary(min_size=1, max_size=99), st.text())
def test_what_is_kept_comes_back(tokens: list[int], state: bytes, model: str) -> None:
    conditions = replace(HERE, model=model)
    assert read(kept(conditions, tuple(tokens), state), conditions) == (tuple(tokens), state)


def test_a_header_written_by_hand_is_the_same() -> None:
    assert with_header(spelled(PLAIN), REST) == kept(tokens=(5,), state=b"abc")


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    data = kept()
    for length in range(len(data)):
        assert "damaged" in refused(data[:length]), length


@pytest.mark.parametrize("more", [b"\0", b"x" * 100])
def test_a_file_that_goes_on_is_refused(more: bytes) -> None:
    assert "its size" in refused(kept() + more)


def test_every_changed_bit_is_noticed() -> None:
    data = kept()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(changed)).startswith("The kept state "), bit


@pytest.mark.parametrize(
    ("kept_with", "reason"),
    [
        (replace(HERE, model="other"), "another model"),
        (replace(HERE, build="other"), "another build"),
        (replace(HERE, kv_type="q8_0"), "KV cache of type q8_0, and it is f16 now"),
        (replace(HERE, flash_attention="off"), "flash attention off, and it is on now"),
        (replace(HERE, stretched=True), "first trained for"),
    ],
)
def test_another_condition_is_the_reason(kept_with: Conditions, reason: str) -> None:
    assert reason in refused(kept(kept_with))
    assert read(kept(kept_with), kept_with)[0] == TOKENS


def test_more_tokens_than_there_is_room_for_are_refused() -> None:
    assert refused(kept(), room=3) == "The kept state has 4 tokens and the context has room for 3."
    assert read(kept(), room=4)[0] == TOKENS


def test_another_version_is_refused() -> None:
    assert "another version" in refused(MAGIC + b"\2" + kept()[len(MAGIC) + 1 :])


@pytest.mark.parametrize("length", [0, module.HEADER_MAX + 1, 1 << 31, 0xFFFFFFFF])
def test_an_impossible_length_of_the_header_is_refused(length: int) -> None:
    data = bytearray(kept() + bytes(2 * module.HEADER_MAX))
    data[12:16] = length.to_bytes(4, "little")
    assert "no possible length" in refused(bytes(data))


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 60000,
        b"9" * 60000,
        spelled({**PLAIN, "more": 1}),
        spelled({name: value for name, value in PLAIN.items() if name != "stretched"}),
        spelled({**PLAIN, "tokens": True}),
        spelled({**PLAIN, "tokens": 1.0}),
        spelled({**PLAIN, "tokens": "1"}),
        spelled({**PLAIN, "tokens": 0}),
        spelled({**PLAIN, "tokens": -1}),
        spelled({**PLAIN, "tokens": 1 << 64}),
        spelled({**PLAIN, "state": 0}),
        spelled({**PLAIN, "state": -3}),
        spelled({**PLAIN, "state": None}),
        spelled({**PLAIN, "stretched": 0}),
        spelled({**PLAIN, "model": ["model"]}),
        spelled({**PLAIN, "sha256": 5}),
        json.dumps(PLAIN).encode(),
        spelled(dict(reversed(PLAIN.items()))),
        spelled(PLAIN).replace(b'"tokens":1', b'"tokens":2,"tokens":1'),
        spelled(PLAIN).replace(b'"tokens":1', b'"tokens":1e0'),
        spelled(PLAIN).replace(b'"model"', b'"\\u006dodel"', 1),
        spelled(PLAIN) + b" ",
    ],
)
def test_a_header_of_another_spelling_is_refused_whatever_its_checksum(body: bytes) -> None:
    assert "its header makes no sense" in refused(with_header(body, REST))


@pytest.mark.parametrize("checksum", ["", "x" * 64, "0" * 64, "0" * 63])
def test_a_wrong_checksum_is_refused(checksum: str) -> None:
    assert "checksum" in refused(with_header(spelled({**PLAIN, "sha256": checksum}), REST))


@pytest.mark.parametrize("change", [{"tokens": 2}, {"state": 4}, {"state": 2**62}])
def test_sizes_that_do_not_add_up_are_refused(change: dict[str, object]) -> None:
    assert "its size" in refused(with_header(spelled({**PLAIN, **change}), REST))


def test_both_ways_can_be_interrupted() -> None:
    data = memoryview(bytearray(kept()))
    found = opened(data, HERE, 99)
    with pytest.raises(Unusable, match="interrupted"):
        verified(data, found, lambda: True)
    with pytest.raises(Unusable, match="interrupted"):
        seal(data, found, TOKENS, lambda: True)
