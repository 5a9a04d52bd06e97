import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from mixchat.store.places import Places
from mixchat.store.proofs import Proof, read_proof, write_proof

GOOD = Proof(extra_buffers=True, reason="")
BAD = Proof(extra_buffers=False, reason="the self-test was killed by SIGSEGV")


def test_what_is_written_is_read(places: Places) -> None:
    assert read_proof(places, "one") is None
    write_proof(places, "one", GOOD)
    write_proof(places, "two", BAD)
    assert (read_proof(places, "one"), read_proof(places, "two")) == (GOOD, BAD)
    write_proof(places, "one", BAD)
    assert read_proof(places, "one") == BAD
    file = places.state / "engine-proofs.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.state.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe",
        b"[]",
        b"null",
        b'{"one": 1}',
        b'{"one": {"extra_buffers": 1, "reason": ""}}',
        b'{"one": {"extra_buffers": true}}',
        b'{"one": {"extra_buffers": true, "reason": null}}',
        b"[" * 100_000,
        b'{"one": {"extra_buffers": true, "reason": ""',
    ],
)
def test_damaged_content_reads_as_none_and_is_replaced(places: Places, content: bytes) -> None:
    places.state.mkdir(parents=True)
    (places.state / "engine-proofs.json").write_bytes(content)
    assert read_proof(places, "one") is None
    write_proof(places, "one", GOOD)
    assert read_proof(places, "one") == GOOD


def test_writers_at_once_lose_nothing(places: Places) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_proof(places, str(number), GOOD), range(16)))
    assert all(read_proof(places, str(number)) == GOOD for number in range(16))
