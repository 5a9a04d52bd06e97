"""Large files that have no name until they are complete."""

import errno
import os
import stat
from pathlib import Path

import pytest

from mixchat.store import atomic
from mixchat.store.atomic import atomic_file


@pytest.fixture(params=["nameless", "named"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A target on a system that has files without a name, and on one that has not."""
    if request.param == "named":
        monkeypatch.setattr(atomic, "_OWN_FILES", "/nowhere")
    return tmp_path / "file.gguf"


def test_the_content_takes_its_place_and_can_be_read_back_before(target: Path) -> None:
    target.write_bytes(b"old")
    with atomic_file(target, mode=0o644, nameless=True) as file:
        file.write(b"new content")
        file.flush()
        assert os.pread(file.fileno(), 3, 4) == b"con"
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new content"
    assert list(target.parent.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_it_is_nowhere_to_be_seen_before(tmp_path: Path) -> None:
    try:
        os.close(os.open(tmp_path, os.O_RDWR | os.O_TMPFILE))
    except (OSError, AttributeError):
        pytest.skip("this file system has no files without a name")
    with atomic_file(tmp_path / "file.gguf", nameless=True) as file:
        file.write(b"x" * 100_000)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt("broken")])
def test_a_failure_leaves_nothing(error: BaseException, target: Path) -> None:
    with pytest.raises(BaseException, match="broken"), atomic_file(target, nameless=True) as file:
        file.write(b"half")
        raise error
    assert list(target.parent.iterdir()) == []


def test_a_file_system_without_them_gets_a_named_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def no_nameless(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", no_nameless)
    with atomic_file(tmp_path / "file.gguf", nameless=True) as file:
        file.write(b"content")
    assert (tmp_path / "file.gguf").read_bytes() == b"content"
