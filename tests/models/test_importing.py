"""Files from elsewhere come into the store whole, or not at all."""

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.errors import BadModel, InUse, MixchatError, NotFound, OutputError, UsageError
from mixchat.gguf.header import Header, parse_header
from mixchat.gguf.writer import header_around
from mixchat.models import streaming
from mixchat.models.importing import How, Imported, Wish, import_model
from mixchat.models.keeping import Verified, suspects, verify
from mixchat.models.library import installed
from mixchat.models.registry import Registry, load_registry
from mixchat.models.streaming import Checking, Copying
from mixchat.store.locks import hold
from mixchat.store.places import Places
from tests.builders import Tiny, legacy_twin, tiny_moe

REGISTRY = load_registry()


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A model on a USB stick."""
    folder = tmp_path / "stick"
    folder.mkdir()
    return tiny_moe(folder / "some-model.Q8_0.gguf", Tiny(layers=1, weight="Q8_0"))


def run(places: Places, wish: Wish, registry: Registry = REGISTRY) -> Imported:
    *_progress, last = import_model(places, registry, wish)
    assert isinstance(last, Imported)
    return last


def store_is_empty(places: Places) -> bool:
    return installed(places) == () and not [path for path in places.models.glob("*") if path.suffix != ".lock"]


@pytest.mark.parametrize(("how", "words"), [("auto", "hard-linked"), ("link", "hard-linked"), ("copy", "copied")])
def test_a_file_is_linked_or_copied(how: How, words: str, places: Places, stick: Path) -> None:
    done = run(places, Wish(stick, how=how))
    (model,) = installed(places)
    assert done == Imported(model.record, model.path, words)
    assert model.path == places.models / "some-model.Q8_0" / stick.name
    assert model.path.read_bytes() == stick.read_bytes()
    assert model.path.samefile(stick) == (words == "hard-linked")
    assert model.record.sha256 == hashlib.sha256(stick.read_bytes()).hexdigest()
    assert model.record.source == f"imported from {stick}, {words}"


def test_a_file_can_be_left_where_it_is(places: Places, stick: Path) -> None:
    run(places, Wish(stick, name="mine", how="leave"))
    (model,) = installed(places)
    assert (model.path, model.record.folder, model.record.name) == (stick, str(stick.parent), "mine")
    assert [path.name for path in (places.models / "mine").iterdir()] == ["model.json"]
    stick.unlink()
    assert installed(places) == ()


def test_what_cannot_be_linked_is_copied_unless_links_are_asked_for(
    places: Places, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*_args: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", other_disk)
    with pytest.raises(OutputError, match="cannot be linked") as caught:
        run(places, Wish(stick, how="link"))
    assert "--copy" in caught.value.hint
    assert store_is_empty(places)
    monkeypatch.setattr(streaming, "PIECE", 10_000)
    monkeypatch.setattr("mixchat.store.atomic._OWN_FILES", "/nowhere")
    events = list(import_model(places, REGISTRY, Wish(stick)))
    steps = [event for event in events if isinstance(event, Copying)]
    assert (steps[0].done, steps[-1].done, steps[-1].total) == (10_000, stick.stat().st_size, stick.stat().st_size)
    assert installed(places)[0].record.source.endswith(", copied")


def test_a_link_to_a_file_is_followed(places: Places, stick: Path) -> None:
    link = stick.with_name("link.gguf")
    link.symlink_to(stick.name)
    done = run(places, Wish(link))
    assert done.path == places.models / "link" / "link.gguf"
    assert not done.path.is_symlink()
    assert done.path.samefile(stick)


def test_an_odd_file_name_is_not_taken_over(places: Places, stick: Path) -> None:
    odd = stick.rename(stick.with_name(".ödd\x1b.gguf"))
    with pytest.raises(UsageError, match="no name"):
        run(places, Wish(odd))
    done = run(places, Wish(odd, name="mine"))
    assert done.path == places.models / "mine" / "mine.gguf"


@pytest.mark.parametrize(
    "name",
    ["", "../x", "/etc/x", "a/b", "C:\\x", "x" * 300, "a..b", "-x", "x:y", "x.gguf", "mixtral", "hf:a/b", "a\0b"],
)
def test_hostile_and_known_names_are_refused(name: str, places: Places, stick: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run(places, Wish(stick, name=name))
    assert "--name" in caught.value.hint
    assert store_is_empty(places)


def test_a_name_that_is_taken_is_refused(places: Places, stick: Path) -> None:
    first = run(places, Wish(stick, name="mine"))
    (places.models / "half").mkdir()
    (places.models / "half" / "m.gguf.part").touch()
    (places.models / "link").symlink_to(stick.parent)
    for name in ("mine", "half", "link"):
        with pytest.raises(UsageError, match=f"{name} is in the store already"):
            run(places, Wish(stick, name=name))
    assert [model.record for model in installed(places)] == [first.record]


def test_a_name_that_another_process_works_on_is_in_use(places: Places, stick: Path) -> None:
    with hold(places.models / ".mine.lock"), pytest.raises(InUse):
        run(places, Wish(stick, name="mine"))


def test_leftovers_under_the_name_do_not_matter(places: Places, stick: Path) -> None:
    folder = places.models / "some-model.Q8_0"
    folder.mkdir(parents=True)
    (folder / stick.name).write_bytes(b"half of it")
    run(places, Wish(stick))
    assert installed(places)[0].path.samefile(stick)


def bad(stick: Path, case: str) -> tuple[Path, type[MixchatError]]:
    path = stick.with_name("bad.gguf")
    match case:
        case "cut":
            path.write_bytes(stick.read_bytes()[:-1000])
        case "page":
            path.write_bytes(b"<!doctype html>")
        case "no model":
            path.write_bytes(header_around((3, 0), b"", [], 32))
        case "legacy":
            legacy_twin(stick, path)
        case "folder":
            path.mkdir()
        case _:
            return path, NotFound
    return path, BadModel


@pytest.mark.parametrize("case", ["cut", "page", "no model", "legacy", "folder", "none"])
def test_what_is_no_sound_model_does_not_come_in(case: str, places: Places, stick: Path) -> None:
    path, kind = bad(stick, case)
    with pytest.raises(kind, match=r"bad\.gguf") as caught:
        run(places, Wish(path))
    assert store_is_empty(places)
    if case == "legacy":
        assert f"mixchat upgrade {path}" in caught.value.hint
        assert run(places, Wish(path, force=True)).record.name == "bad"


@pytest.mark.parametrize(("how", "force"), [("link", False), ("copy", False), ("leave", False), ("auto", True)])
def test_a_known_file_must_have_its_bytes(how: How, force: bool, places: Places, stick: Path) -> None:
    mixtral = REGISTRY.entries["mixtral"]
    known = replace(mixtral.files[0], repo="owner/repo", file=stick.name, nbytes=stick.stat().st_size, sha256="f" * 64)
    registry = Registry({"mixtral": replace(mixtral, files=(known,))})
    if force:
        assert run(places, Wish(stick, how=how, force=True), registry).record.file == stick.name
        return
    with pytest.raises(BadModel, match="name of a file of owner/repo and other bytes") as caught:
        run(places, Wish(stick, how=how), registry)
    assert "--force" in caught.value.hint
    assert store_is_empty(places)
    assert stick.is_file()


def test_a_run_that_is_given_up_leaves_nothing(places: Places, stick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PIECE", 10_000)
    hows: tuple[How, ...] = ("copy", "link", "leave")
    for how in hows:
        events = import_model(places, REGISTRY, Wish(stick, how=how))
        assert isinstance(next(events), Copying | Checking)
        events.close()  # type: ignore[attr-defined]
        assert store_is_empty(places)
    assert stick.is_file()


def test_a_full_disk_is_told_before_anything_is_copied(
    places: Places, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.statvfs(stick.parent)
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((*tuple(status)[:4], 1, *tuple(status)[5:])))
    with pytest.raises(OutputError, match="is too full"):
        run(places, Wish(stick, how="copy"))
    assert store_is_empty(places)
    assert run(places, Wish(stick, how="link")).how == "hard-linked"


def shards(whole: Path) -> list[Path]:
    """Divide a model: the first file has the metadata and no tensors, as gguf-split can write it."""
    data = whole.read_bytes()
    header: Header = parse_header(data)
    values = data[24 : header.metadata_end]
    half = len(header.tensors) // 2
    groups = [(), header.tensors[:half], header.tensors[half:]]
    paths = [whole.with_name(f"some-0000{index}-of-00003.gguf") for index in (1, 2, 3)]
    for path, group in zip(paths, groups, strict=True):
        count = len(header.metadata) if not group else 0
        start = header_around((3, count), values if count else b"", [(t.name, t.shape, t.type) for t in group], 32)
        body = b"".join(
            data[header.data_offset + t.offset :][: t.nbytes].ljust(-(-t.nbytes // 32) * 32, b"\0") for t in group
        )
        path.write_bytes(start + body)
    return paths


@pytest.mark.parametrize("how", ["link", "copy", "leave"])
def test_shards_come_together(how: How, places: Places, stick: Path) -> None:
    paths = shards(stick)
    done = run(places, Wish(paths[0], how=how))
    assert (done.record.name, done.record.total) == ("some", sum(path.stat().st_size for path in paths))
    (model,) = installed(places)
    assert [piece.file for piece in model.record.pieces] == [path.name for path in paths]
    found = [event for event in verify(suspects(places, REGISTRY, model.path)) if isinstance(event, Verified)]
    assert len(found) == 3


def test_shards_with_an_odd_name_are_renamed_together(places: Places, stick: Path) -> None:
    paths = [path.rename(path.with_name("~" + path.name)) for path in shards(stick)]
    done = run(places, Wish(paths[0], name="mine"))
    assert [piece.file for piece in done.record.pieces] == [f"mine-0000{index}-of-00003.gguf" for index in (1, 2, 3)]


def test_a_shard_alone_is_refused(places: Places, stick: Path) -> None:
    paths = shards(stick)
    with pytest.raises(UsageError, match="not the first shard") as caught:
        run(places, Wish(paths[1]))
    assert str(paths[0]) in caught.value.hint
    paths[2].unlink()
    with pytest.raises(NotFound, match=r"some-00003-of-00003\.gguf does not exist"):
        run(places, Wish(paths[0]))
    assert not places.models.exists() or store_is_empty(places)
