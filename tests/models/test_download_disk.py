import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from mixchat.errors import OutputError
from mixchat.models import download as module
from mixchat.models.download import check_space
from mixchat.models.hub import Hub, RemoteFile
from mixchat.models.library import installed
from mixchat.models.part import Part, part_bytes
from mixchat.store.places import Places
from tests.fakes.downloads import Scene, assert_whole, fetched, gguf, leave_part, names
from tests.fakes.hub import FakeHub

MODEL = gguf()
SHA256 = hashlib.sha256(MODEL).hexdigest()
COMMIT = "c" * 40


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_the_disk_is_checked_before_the_first_byte(
    fake: FakeHub, hub: Hub, places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [fake.add("o/n", f"m-0000{i}-of-00002.gguf", gguf(100_000, i)) for i in (1, 2)]
    needed = sum(file.size for file in files) + module.RESERVE
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(0, 0, needed - 1))
    with pytest.raises(OutputError, match=f"{needed} bytes are needed and {needed - 1} are free") as caught:
        fetched(places, hub, *files)
    assert caught.value.exit_code == 12
    assert fake.requests == []
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(0, 0, needed))
    fetched(places, hub, *files)
    assert len(names(folder)) == 3


def test_what_a_part_has_needs_no_space(
    hub: Hub, file: RemoteFile, places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_part(folder, MODEL[:200_000], file)
    assert part_bytes(folder / "m.gguf", file) == 200_000
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(0, 0, file.size - 200_000 + module.RESERVE))
    fetched(places, hub, file)
    assert_whole(places, MODEL)


def test_nothing_missing_needs_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(0, 0, 0))
    check_space(tmp_path, 0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_in_the_middle_keeps_the_part(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fake, hub, file, places, folder = scene
    write, room = os.write, [100_000]

    def fails_when_full(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(number, os.strerror(number))
        count = write(descriptor, data[: room[0]])
        room[0] -= count
        return count

    with monkeypatch.context() as patched:
        patched.setattr("mixchat.models.part.os.write", fails_when_full)
        with pytest.raises(OutputError, match=os.strerror(number)):
            fetched(places, hub, file)
    assert (folder / "m.gguf.part").read_bytes() == MODEL[:100_000]
    fake.served.clear()
    fetched(places, hub, file)
    assert_whole(places, MODEL)
    assert fake.served["m.gguf"] == file.size - 100_000


@pytest.mark.parametrize("step", ["os.fsync", "os.fchmod", "Path.replace"])
def test_a_disk_that_fails_at_the_end_installs_nothing(
    hub: Hub, file: RemoteFile, places: Places, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fetch_ends = [Part.finish]

    def finish(part: Part) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(f"mixchat.models.part.{step}", _io_error)
            fetch_ends[0](part)

    with monkeypatch.context() as patched:
        patched.setattr(Part, "finish", finish)
        with pytest.raises(OutputError):
            fetched(places, hub, file)
    assert installed(places) == ()
    fetched(places, hub, file)
    assert_whole(places, MODEL)


def _io_error(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_the_bytes_are_on_the_disk_before_the_name_is(
    hub: Hub, file: RemoteFile, places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        steps.append(f"rename {target.name}")
        return replace(path, target)

    monkeypatch.setattr("mixchat.models.part.os.fsync", noted_fsync)
    monkeypatch.setattr("mixchat.models.part.Path.replace", noted_replace)
    fetched(places, hub, file)
    last = steps[steps.index("sync m.gguf.part") :]
    assert last[:3] == ["sync m.gguf.part", "rename m.gguf", "sync m"]
    assert last[-2:] == ["rename model.json", "sync m"]
    assert folder.is_dir()


LINKS: dict[str, Callable[[Path, Path], None]] = {
    "symbolic": lambda path, outside: path.symlink_to(outside),
    "hard": lambda path, outside: path.hardlink_to(outside),
    "dangling": lambda path, outside: path.symlink_to(outside.with_name("new")),
}


@pytest.mark.parametrize("name", ["m.gguf", "m.gguf.part", "m.gguf.part.json", "model.json"])
@pytest.mark.parametrize("kind", LINKS)
def test_planted_links_are_not_followed(scene: Scene, tmp_path: Path, name: str, kind: str) -> None:
    _, hub, file, places, folder = scene
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    leave_part(folder, b"", file)
    (folder / name).unlink(missing_ok=True)
    LINKS[kind](folder / name, outside)
    fetched(places, hub, file)
    assert outside.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "outside"]
    assert not (folder / "m.gguf").is_symlink()
    assert_whole(places, MODEL)


def test_a_link_to_the_right_bytes_is_not_the_file(
    hub: Hub, file: RemoteFile, places: Places, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_bytes(MODEL)
    folder.mkdir(parents=True)
    (folder / "m.gguf").symlink_to(tmp_path / "outside")
    fetched(places, hub, file)
    assert not (folder / "m.gguf").is_symlink()
    assert_whole(places, MODEL)


def test_a_pipe_planted_at_the_part_does_not_hang(hub: Hub, file: RemoteFile, places: Places, folder: Path) -> None:
    folder.mkdir(parents=True)
    os.mkfifo(folder / "m.gguf.part")
    fetched(places, hub, file)
    assert_whole(places, MODEL)


def test_a_folder_that_leads_elsewhere_is_refused(scene: Scene, tmp_path: Path) -> None:
    fake, hub, file, places, folder = scene
    (tmp_path / "outside").mkdir()
    places.models.mkdir(parents=True)
    folder.symlink_to(tmp_path / "outside")
    with pytest.raises(OutputError, match="is a link"):
        fetched(places, hub, file)
    assert names(tmp_path / "outside") == []
    assert fake.requests == []
