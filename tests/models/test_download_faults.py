"""Every fault seen in the field, and what is expected of a download that meets it."""

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from mixchat.errors import BadModel, MixchatError, NetworkError, NotFound
from mixchat.models.download import fetch
from mixchat.models.events import Downloading, Waiting
from mixchat.models.hub import Hub, RemoteFile
from mixchat.models.library import installed
from mixchat.models.patience import Patience
from mixchat.store.places import Places
from tests.fakes.downloads import QUICK, assert_whole, fetched, gguf, whys
from tests.fakes.hub import FakeHub
from tests.fakes.hub_faults import Fault, Name, Where

MODEL = gguf()
OTHER = gguf(seed=1)


def part(places: Places) -> Path:
    return places.models / "m" / "m.gguf.part"


@pytest.mark.parametrize("name", ["reset", "fin"])
@pytest.mark.parametrize("seed", range(3))
def test_twenty_broken_connections_at_random_places(
    fake: FakeHub, hub: Hub, places: Places, name: Name, seed: int
) -> None:
    file = fake.add("o/n", "m.gguf", MODEL)
    random = Random(seed)
    fake.faults.add(*(Fault(name, random.randrange(1, 15_000)) for _ in range(20)))
    events = fetched(places, hub, file)
    assert len(whys(events)) == 20
    assert_whole(places, MODEL)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
@pytest.mark.parametrize("where", ["resolve", "cdn"])
def test_three_bad_answers(fake: FakeHub, hub: Hub, places: Places, status: int, where: Where) -> None:
    file = fake.add("o/n", "m.gguf", MODEL)
    fake.faults.add(Fault("status", status, times=3, where=where))
    events = fetched(places, hub, file)
    assert len(whys(events)) == 3
    assert all(str(status) in why for why in whys(events))
    assert fake.served["m.gguf"] == file.size
    assert_whole(places, MODEL)


def test_retry_after_is_obeyed_and_shown(fake: FakeHub, file: RemoteFile, places: Places) -> None:
    patient = replace(QUICK, longest_wait=60.0)
    fake.faults.add(Fault("busy", 1), Fault("busy", 0, where="resolve"))
    events = fetched(places, Hub(fake.endpoint, patience=patient), file)
    waits = [(event.seconds, "429" in event.why) for event in events if isinstance(event, Waiting)]
    assert waits == [(0.0, True), (1.0, True)]
    assert_whole(places, MODEL)


def test_retry_after_has_a_limit(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places) -> None:
    fake.faults.add(Fault("busy", 10_000_000))
    events = fetched(places, hub, file)
    assert [event.seconds for event in events if isinstance(event, Waiting)] == [QUICK.longest_wait]
    assert_whole(places, MODEL)


def test_without_ranges_it_restarts_once(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places) -> None:
    fake.faults.add(Fault("no-range", times=None), Fault("reset", 200_000))
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert file.size < fake.served["m.gguf"] <= file.size + 200_000


@pytest.mark.parametrize("name", ["long-length", "short-length", "no-length", "extra", "chunked", "shift", "gzip"])
@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("base", [None, "no-range"])
def test_wrong_lengths_never_make_a_wrong_file(
    fake: FakeHub, places: Places, name: Name, times: int | None, base: Name | None
) -> None:
    file = fake.add("o/n", "m.gguf", MODEL)
    fake.faults.add(*([Fault(base, times=None)] if base else []), Fault(name, 1000, times=times))
    try:
        fetched(places, Hub(fake.endpoint, patience=QUICK), file)
    except NetworkError:
        assert installed(places) == ()
        assert not (places.models / "m" / "m.gguf").exists()
        assert times is None or name in {"gzip", "shift"}
    else:
        assert_whole(places, MODEL)


def test_a_login_page_is_recognised_and_costs_nothing(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places
) -> None:
    fake.faults.add(Fault("reset", 200_000), Fault("login", times=1))
    with pytest.raises(NetworkError, match="login page") as caught:
        fetched(places, hub, file)
    assert "log in" in caught.value.hint
    kept = part(places).stat().st_size
    assert kept > 100_000
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.served["m.gguf"] <= file.size + 200_000 - kept


def test_content_that_changes_between_tries_is_not_spliced(fake: FakeHub, hub: Hub, places: Places) -> None:
    file = fake.add("o/n", "m.gguf", MODEL, lfs=False)
    fake.faults.add(Fault("reset", 200_000))
    for event in fetch(places, hub, "m", [file], ""):
        if isinstance(event, Waiting) and "changed" not in event.why:
            fake.repos["o/n"].commits.clear()
            newer = fake.add("o/n", "m.gguf", OTHER, lfs=False)
            assert newer.size == file.size
    assert_whole(places, OTHER)


def test_content_that_changes_between_runs_is_not_spliced(fake: FakeHub, hub: Hub, places: Places) -> None:
    file = fake.add("o/n", "m.gguf", MODEL, lfs=False)
    fake.faults.add(Fault("reset", 200_000), Fault("login"))
    with pytest.raises(NetworkError):
        fetched(places, Hub(fake.endpoint, patience=replace(QUICK, tries=1)), file)
    assert part(places).stat().st_size > 0
    fake.add("o/n", "m.gguf", OTHER, lfs=False)
    events = fetched(places, hub, file)
    assert "The file has changed on the hub." in whys(events)
    assert_whole(places, OTHER)


def test_content_that_is_not_the_one_known_is_refused(fake: FakeHub, hub: Hub, places: Places) -> None:
    fake.add("o/n", "m.gguf", OTHER)
    file = replace(hub.info("o/n").files[0], sha256=hashlib.sha256(MODEL).hexdigest())
    with pytest.raises(BadModel, match="damaged twice"):
        fetched(places, hub, file)
    assert installed(places) == ()


def test_a_new_commit_in_the_middle_changes_nothing(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places) -> None:
    fake.faults.add(Fault("reset", 200_000))
    for event in fetch(places, hub, "m", [file], ""):
        if isinstance(event, Waiting):
            fake.add("o/n", "m.gguf", OTHER, new_commit=True)
    assert_whole(places, MODEL)


def test_a_commit_that_is_gone_is_not_found(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places) -> None:
    fake.repos["o/n"].commits.clear()
    fake.add("o/n", "m.gguf", OTHER)
    with pytest.raises(NotFound, match="no such revision"):
        fetched(places, hub, replace(file, commit="d" * 40))


def test_expired_links_are_resolved_again(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places) -> None:
    fake.faults.add(Fault("reset", 100_000), Fault("expired", times=2))
    events = fetched(places, hub, file)
    assert sum("expired" in why for why in whys(events)) == 2
    assert sum("/resolve/" in seen.path for seen in fake.requests) == 4
    assert_whole(places, MODEL)


def test_links_that_are_never_good_are_given_up(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places) -> None:
    fake.link_seconds = -1
    with pytest.raises(NetworkError, match="expired"):
        fetched(places, hub, file)
    assert len(fake.requests) == 2 * QUICK.tries


@pytest.mark.parametrize("patience", [Patience(stall=0.4, first_pause=0.01), Patience(stall=1.5, first_pause=0.01)])
def test_a_byte_a_second_is_a_stall(fake: FakeHub, file: RemoteFile, places: Places, patience: Patience) -> None:
    fake.faults.add(Fault("stall", 1000))
    events = fetched(places, Hub(fake.endpoint, patience=patience), file)
    assert len(whys(events)) == 1
    assert_whole(places, MODEL)


def test_a_hub_that_is_gone_is_given_up(fake: FakeHub, file: RemoteFile, places: Places) -> None:
    with FakeHub() as gone:
        pass
    with pytest.raises(NetworkError, match=f"try {QUICK.tries} in a row"):
        fetched(places, Hub(gone.endpoint, patience=QUICK), file)
    assert fake.requests == []


@pytest.mark.parametrize("name", ["reset", "fin"])
def test_without_progress_it_is_given_up(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, name: Name) -> None:
    fake.faults.add(Fault("no-range", times=None), Fault(name, 100_000, times=1000))
    with pytest.raises(NetworkError, match="in a row"):
        fetched(places, hub, file)
    assert sum(seen.origin == "cdn" for seen in fake.requests) <= QUICK.tries + 1
    assert installed(places) == ()


def test_a_file_that_is_shorter_than_promised_is_given_up(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places
) -> None:
    with pytest.raises(NetworkError, match="is announced with"):
        fetched(places, hub, replace(file, size=file.size + 1000))
    places.models.joinpath("m", "m.gguf.part").write_bytes(MODEL)
    with pytest.raises(NetworkError, match="416"):
        fetched(places, hub, replace(file, size=file.size + 1000))
    assert installed(places) == ()
    assert fake.served["m.gguf"] < file.size * 20


def test_a_hundred_one_bit_corruptions_are_a_hundred_refusals(fake: FakeHub, hub: Hub, places: Places) -> None:
    content = gguf(4000)
    file = fake.add("o/n", "m.gguf", content)
    random, refused = Random(1), list[MixchatError]()
    for bit in random.sample(range(8 * len(content)), 100):
        fake.faults.clear()
        fake.faults.add(Fault("flip", bit, times=None))
        with pytest.raises(MixchatError) as caught:
            fetched(places, hub, file)
        refused.append(caught.value)
        assert installed(places) == ()
    assert len(refused) == 100
    assert sum(isinstance(error, BadModel) for error in refused) > 90  # with another magic it may be a login page


def test_one_corruption_is_mended(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places) -> None:
    fake.faults.add(Fault("flip", 8 * 1000))
    events = fetched(places, hub, file)
    assert any("once more" in why for why in whys(events))
    assert_whole(places, MODEL)


def test_waiting_can_be_interrupted_by_closing(hub: Hub, file: RemoteFile, places: Places) -> None:
    held, go = threading.Event(), threading.Event()

    def holder() -> None:
        for event in fetch(places, hub, "m", [file], ""):
            if isinstance(event, Downloading):
                held.set()
                go.wait(60)

    thread = threading.Thread(target=holder)
    thread.start()
    assert held.wait(60)
    events = fetch(places, hub, "m", [file], "")
    assert next(events) == Waiting(1.0, "Another process is fetching this model.")
    events.close()
    go.set()
    thread.join()
    assert_whole(places, MODEL)
