"""What lies in the store, taking it out, and noticing damage."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.errors import BadModel, InUse, NotFound, OutputError, UsageError
from mixchat.models.keeping import (
    Leftover,
    Partial,
    Suspect,
    Verified,
    leftovers,
    partials,
    removal,
    remove,
    suspects,
    verify,
)
from mixchat.models.library import Piece, Record, installed, last_used, mark_used, write_record
from mixchat.models.reference import Alias, LocalPath
from mixchat.models.registry import Registry, load_registry
from mixchat.models.streaming import Checking
from mixchat.store.locks import Uses, hold
from mixchat.store.places import Places
from tests.builders import Tiny, tiny_moe

REGISTRY = load_registry()
SMALL = Tiny(layers=1, experts=2)


def install(places: Places, name: str, files: Sequence[str] = ("m.gguf",), folder: Path | None = None) -> Path:
    """Put a sound model under that name, its files where `folder` says."""
    where = folder or places.models / name
    for path in (where, places.models / name):
        path.mkdir(parents=True, exist_ok=True)
    pieces = []
    for index, file in enumerate(files):
        data = tiny_moe(where / file, SMALL, seed=index).read_bytes()
        pieces.append(Piece(file, len(data), hashlib.sha256(data).hexdigest()))
    first, *others = pieces
    left = str(folder) if folder else None
    now = "2025-01-01T00:00:00+00:00"
    write_record(places, Record(name, first.file, first.bytes, first.sha256, "a test", now, tuple(others), left))
    return where / first.file


def part(places: Places, name: str, have: int, state: object) -> Path:
    folder = places.models / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "m.gguf.part"
    path.write_bytes(bytes(have))
    if state is not None:
        (folder / "m.gguf.part.json").write_text(state if isinstance(state, str) else json.dumps(state))
    return path


@pytest.mark.parametrize(
    ("state", "size"),
    [
        ({"commit": "c", "sha256": "0" * 64, "size": 1000}, 1000),
        ({"size": -1}, None),
        ({"size": "1000"}, None),
        ([1000], None),
        ("{", None),
        (None, None),
    ],
)
def test_a_download_that_is_not_finished_is_known_by_its_size(state: object, size: int | None, places: Places) -> None:
    part(places, "half", 250, state)
    assert partials(places) == (Partial("half", "m.gguf", 250, size),)
    assert leftovers(places) == ()


def test_an_empty_store_has_neither(places: Places) -> None:
    assert (partials(places), leftovers(places)) == ((), ())


def test_what_belongs_to_no_model_is_left_over(places: Places) -> None:
    path = install(places, "whole", ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"))
    mark_used(places, path)
    part(places, "half", 10, {"size": 100})
    (places.models / "half" / "m-00001-of-00002.gguf").write_bytes(b"a finished shard")
    strays = [
        places.models / "gone" / "m.gguf",
        places.models / "half" / ".m.gguf.part.json.abc.tmp",
        places.models / "whole" / ".m.gguf.abc.tmp",
    ]
    for stray in strays:
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"1234")
    (places.models / ".whole.lock").touch()
    assert leftovers(places) == tuple(Leftover(stray.parent.name, stray, 4) for stray in strays)


def test_links_in_the_store_are_not_followed(places: Places, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "dear.part").write_bytes(b"dear")
    places.models.mkdir(parents=True)
    (places.models / "link").symlink_to(outside)
    assert (partials(places), leftovers(places)) == ((), ())
    with pytest.raises(NotFound):
        removal(places, REGISTRY, Alias("link"))


def test_removing_takes_a_model_s_folder_and_nothing_else(places: Places) -> None:
    install(places, "other")
    path = install(places, "mine")
    (path.parent / "folder").mkdir()
    (path.parent / "folder" / "stray").write_bytes(b"1")
    what = removal(places, REGISTRY, Alias("mine"))
    size = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
    assert (what.name, what.folder, what.nbytes, what.kept) == ("mine", path.parent, size, None)
    remove(places, what)
    assert not path.parent.exists()
    assert [model.record.name for model in installed(places)] == ["other"]
    remove(places, what)


def test_a_link_inside_is_removed_and_what_it_leads_to_stays(places: Places, tmp_path: Path) -> None:
    path = install(places, "mine")
    dear = tmp_path / "dear"
    dear.mkdir()
    (dear / "letter").write_text("dear")
    (path.parent / "link").symlink_to(dear)
    remove(places, removal(places, REGISTRY, Alias("mine")))
    assert not path.parent.exists()
    assert (dear / "letter").read_text() == "dear"


def test_files_that_were_left_in_place_stay_there(places: Places, tmp_path: Path) -> None:
    path = install(places, "mine", folder=tmp_path / "usb")
    what = removal(places, REGISTRY, Alias("mine"))
    assert what.kept == tmp_path / "usb"
    remove(places, what)
    assert path.is_file()
    assert installed(places) == ()


def test_partial_downloads_and_leftovers_go_by_their_name(places: Places) -> None:
    part(places, "half", 10, None)
    (places.models / "gone").mkdir()
    (places.models / "gone" / "m.gguf").write_bytes(b"1")
    for name in ("half", "gone"):
        remove(places, removal(places, REGISTRY, Alias(name)))
    assert [path for path in places.models.iterdir() if path.is_dir()] == []


def test_a_model_is_found_by_its_known_name_and_by_its_path(places: Places) -> None:
    known = REGISTRY.entries["mixtral"].files[0]
    path = install(places, "stem", (known.file,))
    for reference in (Alias("mixtral"), Alias("mixtral", known.quantization.upper()), LocalPath(path)):
        assert removal(places, REGISTRY, reference).name == "stem"


def test_what_is_not_in_the_store_is_not_removed(places: Places, tmp_path: Path) -> None:
    outside = tiny_moe(tmp_path / "outside.gguf", SMALL)
    with pytest.raises(UsageError, match=r"outside\.gguf is not in the store"):
        removal(places, REGISTRY, LocalPath(outside))
    with pytest.raises(NotFound):
        removal(places, REGISTRY, Alias("nosuch"))
    assert outside.is_file()


@pytest.mark.parametrize("left", [False, True])
def test_a_model_in_use_stays(left: bool, places: Places, tmp_path: Path) -> None:
    path = install(places, "mine", folder=tmp_path / "usb" if left else None)
    uses = Uses()
    uses.begin(path)
    what = removal(places, REGISTRY, Alias("mine"))
    with pytest.raises(InUse):
        remove(places, what)
    assert len(installed(places)) == 1
    uses.end()
    remove(places, what)
    assert installed(places) == ()


def test_a_model_that_is_being_fetched_stays(places: Places) -> None:
    path = part(places, "half", 10, None)
    with hold(places.models / ".half.lock"), pytest.raises(InUse):
        remove(places, removal(places, REGISTRY, Alias("half")))
    assert path.is_file()


def test_a_folder_that_cannot_be_removed_is_told(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    install(places, "mine")
    what = removal(places, REGISTRY, Alias("mine"))

    def fail(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", fail)
    with pytest.raises(OutputError, match="Permission denied"):
        remove(places, what)


def test_the_last_use_is_kept(places: Places, tmp_path: Path) -> None:
    path = install(places, "mine")
    (model,) = installed(places)
    assert last_used(places, model) is None
    mark_used(places, tiny_moe(tmp_path / "outside.gguf", SMALL))
    assert last_used(places, model) is None
    mark_used(places, path)
    os.utime(path.parent / ".last-used", (1_700_000_000, 1_700_000_000))
    assert last_used(places, model) == "2023-11-14T22:13:20+00:00"


def checked(files: Sequence[Suspect]) -> list[Verified]:
    return [event for event in verify(files) if isinstance(event, Verified)]


def test_a_sound_model_is_verified_file_by_file(places: Places) -> None:
    path = install(places, "mine", ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"))
    events = list(verify(suspects(places, REGISTRY, path)))
    pieces = installed(places)[0].record.pieces
    assert [event for event in events if isinstance(event, Verified)] == [
        Verified(path.with_name(piece.file), piece.bytes, piece.sha256, "model.json") for piece in pieces
    ]
    steps = [event for event in events if isinstance(event, Checking)]
    assert steps[-1] == Checking(sum(piece.bytes for piece in pieces), sum(piece.bytes for piece in pieces))


@pytest.mark.parametrize("place", [5000, -1])
def test_one_flipped_bit_is_found(place: int, places: Places) -> None:
    path = install(places, "mine")
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    with pytest.raises(BadModel, match="is damaged: it has the sha256") as caught:
        checked(suspects(places, REGISTRY, path))
    assert (caught.value.exit_code, caught.value.hint) == (5, "Run: mixchat rm mine, then get it again (a test).")


def test_a_byte_too_many_is_found_without_reading(places: Places) -> None:
    path = install(places, "mine")
    with path.open("ab") as file:
        file.write(b"\0")
    events = verify(suspects(places, REGISTRY, path))
    with pytest.raises(BadModel, match=r"bytes, and model\.json has"):
        next(events)


def test_a_file_outside_is_checked_by_its_header(places: Places, tmp_path: Path) -> None:
    path = tiny_moe(tmp_path / "outside.gguf", SMALL)
    assert checked(suspects(places, REGISTRY, path)) == [Verified(path, path.stat().st_size, None, "its header")]
    os.truncate(path, path.stat().st_size - 2000)
    with pytest.raises(BadModel, match="incomplete"):
        checked(suspects(places, REGISTRY, path))


def test_a_known_file_outside_is_checked_by_the_registry_s_hash(places: Places, tmp_path: Path) -> None:
    path = tiny_moe(tmp_path / "known.gguf", SMALL)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    registry = with_known(path, sha256)
    assert checked(suspects(places, registry, path)) == [
        Verified(path, path.stat().st_size, sha256, "the file of owner/repo")
    ]
    with pytest.raises(BadModel, match="owner/repo has the sha256 ffff"):
        checked(suspects(places, with_known(path, "f" * 64), path))


def with_known(path: Path, sha256: str) -> Registry:
    """A registry that knows this file."""
    mixtral = REGISTRY.entries["mixtral"]
    known = replace(mixtral.files[0], repo="owner/repo", file=path.name, nbytes=path.stat().st_size, sha256=sha256)
    return Registry({"mixtral": replace(mixtral, files=(known,))})
