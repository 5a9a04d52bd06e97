import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from mixchat.store.calibrations import DeviceSpeed, Kept, TypeSpeed, add_calibration, read_calibration
from mixchat.store.places import Places

DEVICE = DeviceSpeed(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
Q4 = TypeSpeed(1.0, 2.0, 3.0, 4.0)
_SPEED = (
    b'{"one": {"device": null, "quiet": true, "types": '
    b'{"Q4_K": {"decode": %s, "prefill": 2, "routed_decode": 3, "routed_prefill": 4}}}}'
)


def test_what_is_added_is_read_and_joins_what_was_there(places: Places) -> None:
    assert read_calibration(places, "one") == Kept()
    add_calibration(places, "one", Kept(DEVICE, {"Q4_K": Q4}))
    add_calibration(places, "two", Kept(None, {"Q8_0": None}))
    add_calibration(places, "one", Kept(None, {"Q6_K": TypeSpeed(7.0, 8.0, 9.0, 10.0)}))
    q6 = TypeSpeed(7.0, 8.0, 9.0, 10.0)
    assert read_calibration(places, "one") == Kept(DEVICE, {"Q4_K": Q4, "Q6_K": q6})
    assert read_calibration(places, "two") == Kept(None, {"Q8_0": None})
    file = places.state / "calibrations.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.state.stat().st_mode) == 0o700


def test_the_newest_keys_stay(places: Places) -> None:
    for number in range(40):
        add_calibration(places, str(number), Kept(DEVICE))
        add_calibration(places, "used", Kept(DEVICE))
    kept = json.loads((places.state / "calibrations.json").read_bytes())
    assert list(kept) == [*map(str, range(9, 40)), "used"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe",
        b"[]",
        b'{"one": 1}',
        b'{"one": {"device": null}}',
        b'{"one": {"device": null, "types": []}}',
        b'{"one": {"device": {"bandwidth": 1}, "types": {}, "quiet": true}}',
        b'{"one": {"device": null, "types": {"Q4_K": null}, "quiet": 1}}',
        b'{"one": {"device": 3, "quiet": true, "types": {"Q4_K": {"decode": 1, "prefill": 2}}}}',
        *(_SPEED % number for number in (b'"1"', b"-1", b"NaN", b"1e999", b"null")),
        b"[" * 100_000,
    ],
)
def test_damaged_content_is_measured_again(places: Places, content: bytes) -> None:
    places.state.mkdir(parents=True)
    (places.state / "calibrations.json").write_bytes(content)
    assert read_calibration(places, "one") == Kept()
    add_calibration(places, "one", Kept(DEVICE, {"Q4_K": Q4}))
    assert read_calibration(places, "one") == Kept(DEVICE, {"Q4_K": Q4})


def test_what_is_sound_beside_damage_stays(places: Places) -> None:
    add_calibration(places, "one", Kept(DEVICE, {"Q4_K": Q4, "Q8_0": None, "Q6_K": Q4}))
    file = places.state / "calibrations.json"
    content = json.loads(file.read_bytes())
    del content["one"]["types"]["Q6_K"]["decode"]
    file.write_text(json.dumps(content))
    assert read_calibration(places, "one") == Kept(DEVICE, {"Q4_K": Q4, "Q8_0": None})


def test_writers_at_once_lose_nothing(places: Places) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add_calibration(places, "one", Kept(None, {str(number): Q4})), range(16)))
    assert len(read_calibration(places, "one").types) == 16


def test_whether_it_was_quiet_is_known_of_all_together(places: Places) -> None:
    def quiet(kept: Kept) -> bool:
        add_calibration(places, "one", kept)
        return read_calibration(places, "one").quiet

    assert quiet(Kept(DEVICE, {"Q4_K": Q4}))
    assert not quiet(Kept(None, {"Q8_0": Q4}, quiet=False))
    assert not quiet(Kept(None, {"Q4_K": Q4, "Q8_0": Q4}))
    assert quiet(Kept(DEVICE, {"Q4_K": Q4, "Q8_0": Q4}))
