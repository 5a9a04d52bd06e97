import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mixchat.store.failures import KEPT, Attempt, held_back, identity_of, remember
from mixchat.store.places import Places

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
ONE = Attempt("/models/a.gguf 5 7", 8192, "f16", "CUDA0 100 None")
OTHERS = (
    Attempt("/models/a.gguf 5 8", 8192, "f16", "CUDA0 100 None"),
    Attempt("/models/a.gguf 5 7", 4096, "f16", "CUDA0 100 None"),
    Attempt("/models/a.gguf 5 7", 8192, "q8_0", "CUDA0 100 None"),
    Attempt("/models/a.gguf 5 7", 8192, "f16", "CUDA0 200 None"),
)


def test_what_worked_is_known_for_just_that(places: Places) -> None:
    assert held_back(places, ONE, NOW) == 0
    remember(places, ONE, 1, NOW)
    remember(places, OTHERS[0], 4, NOW)
    remember(places, ONE, 2, NOW)
    assert [held_back(places, each, NOW) for each in (ONE, *OTHERS)] == [2, 4, 0, 0, 0]
    assert stat.S_IMODE((places.state / "placement-failures.json").stat().st_mode) == 0o600


def test_it_is_forgotten_after_30_days_and_when_the_clock_was_wrong(places: Places) -> None:
    remember(places, ONE, 2, NOW)
    assert held_back(places, ONE, NOW + KEPT) == 2
    assert held_back(places, ONE, NOW + KEPT + timedelta(seconds=1)) == 0
    assert held_back(places, ONE, NOW - timedelta(days=1)) == 0
    remember(places, OTHERS[0], 1, NOW + timedelta(days=40))
    assert len(json.loads((places.state / "placement-failures.json").read_bytes())) == 1


def test_the_newest_are_kept(places: Places) -> None:
    for number in range(202):
        remember(places, Attempt(str(number), 1, "f16", ""), 1, NOW)
    assert held_back(places, Attempt("1", 1, "f16", ""), NOW) == 0
    assert held_back(places, Attempt("2", 1, "f16", ""), NOW) == 1


def test_a_file_that_changes_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"abc")
    first = identity_of(path)
    link = tmp_path / "link.gguf"
    link.symlink_to(path)
    assert identity_of(link) == first
    os.utime(path, (1, 1))
    second = identity_of(path)
    path.write_bytes(b"abcd")
    os.utime(path, (1, 1))
    assert len({first, second, identity_of(path)}) == 3
    with pytest.raises(FileNotFoundError):
        identity_of(tmp_path / "none.gguf")


GOOD = {"file": "a", "context": 1, "kv_type": "f16", "conditions": "", "layers": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[1, null]",
        b"[" * 100_000,
        json.dumps([{**GOOD, "when": "yesterday"}]).encode(),
        json.dumps([{**GOOD, "when": "2026-11-02T12:00:00"}]).encode(),
        json.dumps([{**GOOD, "layers": 0, "when": NOW.isoformat()}]).encode(),
        json.dumps([{**GOOD, "layers": 10**9, "when": NOW.isoformat()}]).encode(),
        json.dumps([{**GOOD, "context": "1", "when": NOW.isoformat()}]).encode(),
    ],
)
def test_damaged_content_reads_as_nothing_and_is_replaced(places: Places, content: bytes) -> None:
    places.state.mkdir(parents=True)
    (places.state / "placement-failures.json").write_bytes(content)
    assert held_back(places, Attempt("a", 1, "f16", ""), NOW) == 0
    remember(places, ONE, 3, NOW)
    assert held_back(places, ONE, NOW) == 3
