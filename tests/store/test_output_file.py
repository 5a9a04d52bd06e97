"""Files that a person named: replaced, written through, or refused before the work."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mixchat.errors import OutputError
from mixchat.store.output_file import check_output, write_output


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("wanted", "got"), [(0o600, 0o600), (0o644, 0o644)])
def test_a_new_file_has_the_permissions_asked_for(tmp_path: Path, wanted: int, got: int) -> None:
    path = tmp_path / "new"
    check_output(path)
    assert not path.exists()
    write_output(path, b"new", wanted)
    assert (path.read_bytes(), mode_of(path)) == (b"new", got)


@pytest.mark.parametrize(
    ("before", "wanted", "after"), [(0o600, 0o644, 0o600), (0o666, 0o600, 0o600), (0o640, 0o644, 0o640)]
)
def test_a_file_is_replaced_and_never_opened_to_more_people(
    tmp_path: Path, before: int, wanted: int, after: int
) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"longer than before")
    path.chmod(before)
    write_output(path, b"new", wanted)
    assert (path.read_bytes(), mode_of(path)) == (b"new", after)
    assert list(tmp_path.iterdir()) == [path]


def test_behind_a_link_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("there", "not there"):
        target, link = tmp_path / "folder" / name, tmp_path / f"link to {name}"
        link.symlink_to(target)
        if name == "there":
            target.write_bytes(b"old")
        write_output(link, b"new")
        assert link.is_symlink()
        assert target.read_bytes() == b"new"


def test_a_pipe_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_output(path, b"new")
    reader.join()
    assert read == [b"new"]
    assert path.is_fifo()


def test_a_device_says_that_it_is_full(tmp_path: Path) -> None:
    link = tmp_path / "full.svg"
    link.symlink_to("/dev/full")
    check_output(link)
    with pytest.raises(OutputError, match="No space left") as caught:
        write_output(link, b"new")
    assert "Free some space" in caught.value.hint
    assert Path("/dev/full").is_char_device()


def test_the_file_that_stdout_goes_to_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    script = (
        "from pathlib import Path; from mixchat.store.output_file import write_output;"
        "print('before', flush=True); write_output(Path('/dev/stdout'), b'new\\n'); print('behind')"
    )
    with path.open("ab") as out:
        subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
    assert path.read_text().splitlines() == ["before", "new", "behind"]


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    cases = {
        tmp_path: "is a folder",
        tmp_path / "none" / "new": "There is no folder",
        tmp_path / "file" / "new": "There is no folder",
    }
    for path, message in cases.items():
        for act in (check_output, lambda each: write_output(each, b"new")):
            with pytest.raises(OutputError, match=message):
                act(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["circle", "file"]


@pytest.fixture
def nobody() -> Iterator[Callable[[], None]]:
    """Give up root's rights for the rest of a test; others have none to give up."""
    before = os.getuid()

    def give_up() -> None:
        if before == 0:
            os.setresuid(65534, 65534, 0)

    yield give_up
    os.setresuid(before, before, before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into, unlike `tmp_path`."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "file").touch(0o444)
        (folder / "closed").mkdir(0o700)
        yield folder
        folder.chmod(0o755)


def test_missing_permissions_are_refused_before_the_work(open_folder: Path, nobody: Callable[[], None]) -> None:
    open_folder.chmod(0o555)
    (open_folder / "closed").chmod(0)
    nobody()
    for name in ("file", "new", "closed/new"):
        with pytest.raises(OutputError, match="no permission"):
            check_output(open_folder / name)
    with pytest.raises(OutputError, match="There is no folder"):
        check_output(open_folder / "closed" / "folder" / "new")
