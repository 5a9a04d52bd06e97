import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixchat.errors import BadModel
from mixchat.models import download as module
from mixchat.models.download import download, fetch, stored_name
from mixchat.models.events import Downloading, FetchEvent, Verifying
from mixchat.models.hub import Hub, RemoteFile
from mixchat.models.library import Piece, installed
from mixchat.store.locks import hold
from mixchat.store.places import Places
from tests.fakes.downloads import Scene, assert_whole, fetched, gguf, leave_part, names
from tests.fakes.hub import FakeHub
from tests.fakes.hub_faults import Fault

MODEL = gguf()
SHA256 = hashlib.sha256(MODEL).hexdigest()
COMMIT = "c" * 40


def test_a_model_is_fetched_whole(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places) -> None:
    events = fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert installed(places)[0].record.source == "somewhere"
    assert events[0] == Downloading(0, file.size)
    assert events[-1] == Downloading(file.size, file.size)
    assert fake.served["m.gguf"] == file.size
    assert (places.models / "m" / "m.gguf").stat().st_mode & 0o777 == 0o644


def test_a_model_that_is_there_needs_no_network_and_no_lock(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(places, hub, file)
    fake.requests.clear()
    monkeypatch.setattr(module, "hold", lambda *_, **__: pytest.fail("a read-only store cannot be locked"))
    assert fetched(places, Hub(fake.endpoint, offline=True), file) == []
    assert fake.requests == []


def test_shards_come_together(fake: FakeHub, hub: Hub, places: Places, folder: Path) -> None:
    contents = [gguf(100_000, seed) for seed in range(3)]
    files = [fake.add("o/n", f"Q8/m-0000{i}-of-00003.gguf", data) for i, data in enumerate(contents, start=1)]
    events = fetched(places, hub, *files)
    [model] = installed(places)
    assert model.path.name == "m-00001-of-00003.gguf"
    digests = [hashlib.sha256(data).hexdigest() for data in contents]
    expected = [Piece(f"m-0000{i}-of-00003.gguf", len(contents[0]), digest) for i, digest in enumerate(digests, 1)]
    assert list(model.record.pieces) == expected
    assert [(folder / piece.file).read_bytes() for piece in expected] == contents
    dones = [event.done for event in events if isinstance(event, Downloading)]
    assert dones == sorted(dones)
    assert {event.total for event in events if isinstance(event, Downloading)} == {sum(map(len, contents))}
    assert len(names(folder)) == 4


def test_shards_go_on_with_the_first_that_is_missing(fake: FakeHub, hub: Hub, places: Places, folder: Path) -> None:
    files = [fake.add("o/n", f"m-0000{i}-of-00002.gguf", gguf(100_000, i)) for i in (1, 2)]
    fetched(places, hub, *files)
    (folder / "model.json").unlink()
    (folder / files[1].path).unlink()
    fake.served.clear()
    fetched(places, hub, *files)
    assert fake.served == {files[1].path: files[1].size}
    assert len(installed(places)) == 1


def test_what_a_part_has_is_not_sent_again(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, folder: Path
) -> None:
    leave_part(folder, MODEL[:200_000], file)
    events = fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.served["m.gguf"] == file.size - 200_000
    assert events[:2] == [Verifying(200_000, file.size), Downloading(200_000, file.size)]


def test_the_same_content_goes_on_at_another_commit(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, folder: Path
) -> None:
    leave_part(folder, MODEL[:200_000], file, commit=COMMIT)
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.served["m.gguf"] == file.size - 200_000


@pytest.mark.parametrize("other", [{"sha256": "0" * 64}, {"size": 7}, {"sha256": None}, {"tag": 5}, {"tag": "other"}])
def test_a_part_of_something_else_is_not_used(scene: Scene, other: dict[str, object]) -> None:
    fake, hub, file, places, folder = scene
    leave_part(folder, bytes(200_000), file, **other)
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.served["m.gguf"] >= file.size


def test_without_a_hash_another_commit_is_something_else(fake: FakeHub, hub: Hub, places: Places, folder: Path) -> None:
    file = fake.add("o/n", "m.gguf", MODEL, lfs=False)
    leave_part(folder, bytes(200_000), file, commit=COMMIT)
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.served["m.gguf"] == file.size


@pytest.mark.parametrize("state", [b"", b"{", b"[]", b"null", b"\xff" * 100, b"[" * 100_000, None])
def test_a_part_without_its_state_is_not_used(scene: Scene, state: bytes | None) -> None:
    fake, hub, file, places, folder = scene
    leave_part(folder, bytes(200_000), file)
    path = folder / "m.gguf.part.json"
    path.unlink() if state is None else path.write_bytes(state)
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.served["m.gguf"] == file.size


def test_a_complete_part_is_only_verified(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, folder: Path
) -> None:
    leave_part(folder, MODEL, file)
    events = fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.requests == []
    assert events[0] == Verifying(file.size, file.size)


@pytest.mark.parametrize("data", [bytes(200_000), bytes(len(MODEL)), MODEL + b"x", MODEL[:-1] + b"?"])
def test_a_damaged_part_is_fetched_once_more(scene: Scene, data: bytes) -> None:
    fake, hub, file, places, folder = scene
    leave_part(folder, data, file)
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.served["m.gguf"] < 2 * file.size


def test_damage_that_stays_is_refused(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, folder: Path) -> None:
    fake.faults.add(Fault("flip", 8 * 1000, times=None))
    with pytest.raises(BadModel, match="damaged twice") as caught:
        fetched(places, hub, file)
    assert caught.value.exit_code == 5
    assert fake.served["m.gguf"] == 2 * file.size
    assert names(folder) == []


def test_without_a_hash_the_header_says_whether_it_is_whole(fake: FakeHub, hub: Hub, places: Places) -> None:
    fetched(places, hub, fake.add("o/n", "m.gguf", MODEL, lfs=False))
    assert_whole(places, MODEL)


@pytest.mark.parametrize("content", [MODEL[:-4], MODEL[:20], MODEL + bytes(64), b"GGUF" + bytes(100), b"GG"])
def test_without_a_hash_a_file_that_is_not_whole_is_refused(
    fake: FakeHub, hub: Hub, places: Places, folder: Path, content: bytes
) -> None:
    with pytest.raises(BadModel, match="damaged twice"):
        fetched(places, hub, fake.add("o/n", "m.gguf", content, lfs=False))
    assert names(folder) == []


def test_a_file_without_its_record_is_verified_and_recorded(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, folder: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / "m.gguf").write_bytes(MODEL)
    (folder / "m.gguf.part.json").write_text("{}")
    assert fetched(places, hub, file) == [Verifying(file.size, file.size)]
    assert_whole(places, MODEL)
    assert fake.requests == []


def test_a_file_that_is_not_the_one_is_replaced(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, folder: Path
) -> None:
    old = fake.add("o/old", "m.gguf", gguf(seed=9))
    fetched(places, hub, old)
    fake.faults.add(Fault("status", 410, times=None))
    with pytest.raises(Exception, match="expired"):
        fetched(places, hub, file)
    assert installed(places) == ()
    fake.faults.clear()
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert (folder / "model.json").exists()


@pytest.mark.parametrize(
    "path", ["../x.gguf", "/etc/x.gguf", "C:\\x.gguf", "x" * 300 + ".gguf", ".gguf", "-x.gguf", "m.txt", "", "a/.."]
)
def test_hostile_names_touch_nothing(fake: FakeHub, hub: Hub, places: Places, path: str) -> None:
    with pytest.raises(BadModel, match="no name for a model file"):
        fetched(places, hub, RemoteFile("o/n", path, COMMIT, 10, None))
    assert fake.requests == []
    assert not places.models.exists()


@pytest.mark.parametrize("name", ["..", "", ".m", "a/b", "/etc", "a\\b", "-rf"])
def test_hostile_folders_touch_nothing(hub: Hub, file: RemoteFile, places: Places, name: str) -> None:
    with pytest.raises(BadModel, match="cannot be stored"):
        list(fetch(places, hub, name, [file], ""))
    assert not places.models.exists()


def test_names_that_collide_are_refused(hub: Hub, file: RemoteFile, places: Places) -> None:
    with pytest.raises(BadModel, match="cannot be stored"):
        fetched(places, hub, file, RemoteFile("o/n", "sub/m.gguf", file.commit, 10, None))


def test_names_are_stored_in_plain_characters() -> None:
    assert stored_name("Q8_0/Mixtral 8x7B (v1)+ä-00001-of-00002.gguf") == "Mixtral_8x7B__v1___-00001-of-00002.gguf"


def test_one_file_can_be_fetched_alone(hub: Hub, file: RemoteFile, tmp_path: Path) -> None:
    digests: list[str] = []

    def noted() -> Iterator[FetchEvent]:
        digests.append((yield from download(hub, file, tmp_path / "any.gguf")))

    list(noted())
    assert digests == [SHA256]
    assert names(tmp_path) == ["any.gguf"]


def test_closing_keeps_the_part_and_frees_the_lock(
    fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, folder: Path
) -> None:
    fake.faults.add(Fault("reset", 150_000))
    events = fetch(places, hub, "m", [file], "")
    while not isinstance(event := next(events), Downloading) or event.done:
        pass
    next(events)
    events.close()
    kept = (folder / "m.gguf.part").stat().st_size
    assert 0 < kept <= 150_000
    with hold(places.models / ".m.lock", timeout=0):
        pass
    fake.served.clear()
    fetched(places, hub, file)
    assert fake.served["m.gguf"] == file.size - kept
    assert_whole(places, MODEL)
