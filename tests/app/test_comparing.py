from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mixchat.app.comparing import Change, Measurement, compare
from mixchat.store.history import Record

NOW = datetime(2026, 11, 2, tzinfo=UTC)


def record(speed: float, days: int = 0) -> Record:
    return Record(NOW + timedelta(days=days), "b", "m", "p", {"decode@0": speed})


def measurement(*samples: float) -> Measurement:
    return Measurement("decode", 0, samples, 50.0)


@pytest.mark.parametrize(
    ("before", "now", "change", "allowed", "regression"),
    [
        ([40.0], [40.0], 0.0, 0.05, False),
        ([40.0], [38.1], -0.0475, 0.05, False),
        ([40.0], [37.9], -0.0525, 0.05, True),
        ([40.0, 44.0, 40.0], [36.5], -0.0875, 0.1, False),
        ([40.0, 44.0, 40.0], [35.9], -0.1025, 0.1, True),
        ([40.0], [35.0, 36.0, 41.0], -0.1, 1 / 6, False),
        ([40.0], [50.0], 0.25, 0.05, False),
    ],
)
def test_a_regression_is_more_than_the_spread_explains(
    before: list[float], now: list[float], change: float, allowed: float, regression: bool
) -> None:
    (found,) = compare([measurement(*now)], [record(speed, day) for day, speed in enumerate(before)])
    assert (found.change, found.allowed) == pytest.approx((change, allowed))
    assert found.regression == regression
    assert (found.runs, found.since) == (len(before), NOW)


def test_what_was_never_measured_has_no_change() -> None:
    assert compare([measurement(40.0)], [replace(record(1.0), figures={"decode@1024": 40.0})]) == ()
    assert compare([measurement(40.0)], []) == ()
    assert Change("decode", 0, -0.1, 0.05, 1, NOW).regression


def test_a_measurement_stands_beside_its_forecast() -> None:
    found = measurement(40.0, 44.0, 38.0)
    assert (found.median, found.ratio) == (40.0, 0.8)
    assert found.spread == pytest.approx(0.15)
    assert replace(found, forecast=None).ratio is None
