import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mixchat.store.history import Record, append, earlier
from mixchat.store.places import Places

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
ONE = Record(NOW, "build", "mixtral Q4_K_M 1", "CPU 1 GiB", {"decode@0": 40.0, "prefill@0": 250.5})
FACTS = {"date": NOW.isoformat(), "build": ONE.build, "model": ONE.model, "placement": ONE.placement, "figures": {}}


def test_records_come_back_oldest_first_and_only_the_last_ones(places: Places) -> None:
    assert earlier(places, ONE, 5) == ()
    records = [replace(ONE, when=NOW + timedelta(days=day)) for day in range(4)]
    for record in records:
        append(places, record)
    assert earlier(places, ONE, 3) == tuple(records[1:])
    file = places.state / "bench-history.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [json.loads(line)["date"][:10] for line in file.read_text().splitlines()] == [
        "2026-11-02",
        "2026-11-03",
        "2026-11-04",
        "2026-11-05",
    ]


@pytest.mark.parametrize("other", [{"build": "other"}, {"model": "other"}, {"placement": "other"}])
def test_other_builds_models_and_placements_are_left_out(places: Places, other: dict[str, str]) -> None:
    append(places, replace(ONE, **other))  # type: ignore[arg-type]
    assert earlier(places, ONE, 5) == ()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"date": "2026-11-02"}',
        json.dumps({**FACTS, "date": "now"}).encode(),
        json.dumps({**FACTS, "date": "2026-11-02T12:00:00"}).encode(),
        json.dumps({**FACTS, "figures": []}).encode(),
    ],
)
def test_damaged_lines_are_passed_over_and_kept(places: Places, line: bytes) -> None:
    places.state.mkdir(parents=True)
    path = places.state / "bench-history.jsonl"
    path.write_bytes(line)
    append(places, ONE)
    assert earlier(places, ONE, 5) == (ONE,)
    assert path.read_bytes().startswith(line)


def test_figures_that_are_no_speeds_are_left_out(places: Places) -> None:
    append(places, ONE)
    path = places.state / "bench-history.jsonl"
    facts = json.loads(path.read_bytes())
    facts["figures"] = {"decode@0": 40, "a": "fast", "b": float("nan"), "c": 0, "d": -1, "e": float("inf")}
    path.write_text(json.dumps(facts) + "\n")
    (record,) = earlier(places, ONE, 5)
    assert record.figures == {"decode@0": 40.0}


def test_it_does_not_grow_for_ever(places: Places) -> None:
    places.state.mkdir(parents=True)
    path = places.state / "bench-history.jsonl"
    path.write_bytes(b"{}\n" * 1500)
    append(places, ONE)
    assert len(path.read_bytes().splitlines()) == 1000
    assert earlier(places, ONE, 5) == (ONE,)


def test_writers_at_once_lose_nothing(places: Places) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _number: append(places, ONE), range(16)))
    assert len(earlier(places, ONE, 100)) == 16
