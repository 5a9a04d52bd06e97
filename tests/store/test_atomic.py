import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mixchat.errors import OutputError
from mixchat.store.atomic import atomic_file, remove_leftovers, write_atomic

OLD = b"old content"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "file.json"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def only(target: Path, content: bytes) -> bool:
    return list(target.parent.iterdir()) == [target] and target.read_bytes() == content


@pytest.mark.parametrize("data", [b"", b"new", b"x" * 3_000_000])
def test_content_is_replaced(target: Path, data: bytes) -> None:
    write_atomic(target, data)
    assert only(target, data)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_mode_is_given_only_to_complete_files(target: Path) -> None:
    umask = os.umask(0)
    try:
        with atomic_file(target, mode=0o644) as file:
            (temporary,) = (path for path in target.parent.iterdir() if path != target)
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            file.write(b"new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def half_write(target: Path, error: BaseException) -> None:
    with atomic_file(target) as file:
        file.write(b"half")
        raise error


def failing(code: int) -> object:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("function", ["open", "fsync", "fchmod", "replace", "fdopen"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_any_failing_step_keeps_the_old_content(
    target: Path, function: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path if function == "replace" else os, function, failing(code))
    with pytest.raises(OutputError) as caught:
        write_atomic(target, b"new")
    monkeypatch.undo()
    assert only(target, OLD)
    assert caught.value.exit_code == 12
    assert str(target) in caught.value.message
    assert os.strerror(code) in caught.value.message
    assert caught.value.hint


def test_a_failing_write_keeps_the_old_content(target: Path) -> None:
    with pytest.raises(OutputError, match="No space left"):
        half_write(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert only(target, OLD)


def test_a_failing_sync_of_the_folder_is_told(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def of_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    with pytest.raises(OutputError, match="Input/output error"):
        write_atomic(target, b"new")
    assert only(target, b"new")


def test_file_and_folder_are_synced_around_the_rename(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def noted_replace(self: Path, other: Path) -> Path:
        steps.append("rename")
        return replace(self, other)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_atomic(target, b"new")
    assert steps == ["sync file", "rename", "sync folder"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit])
def test_an_exception_leaves_nothing(target: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        half_write(target, error())
    assert only(target, OLD)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        write_atomic(tmp_path / "none" / "file", b"")


def test_a_planted_link_is_replaced_not_followed(target: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(OLD)
    target.unlink()
    target.symlink_to(outside)
    write_atomic(target, b"new")
    assert outside.read_bytes() == OLD
    assert not target.is_symlink()


def test_leftovers_of_killed_writers_go(target: Path) -> None:
    other = target.with_name("file.jsonl")
    other.write_bytes(OLD)
    source = f"""
import os, signal, pathlib
from mixchat.store.atomic import atomic_file
with atomic_file(pathlib.Path({str(target)!r})) as file:
    file.write(b"half"); file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", source], check=False)
    assert len(list(target.parent.iterdir())) == 3
    assert target.read_bytes() == OLD
    remove_leftovers(target)
    assert sorted(target.parent.iterdir()) == [target, other]


def test_leftovers_of_a_name_with_wildcards(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp.tmp").write_bytes(b"")
    remove_leftovers(tmp_path / "[a]*")
    assert (tmp_path / ".a.tmp.tmp").exists()
