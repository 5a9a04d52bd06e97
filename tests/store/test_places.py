import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixchat.errors import OutputError
from mixchat.store.places import ensure_folder, ensure_private, find_places


def test_home_holds_everything_and_nothing_is_made(tmp_path: Path) -> None:
    home = tmp_path / "one"
    places = find_places({"MIXCHAT_HOME": str(home)})
    assert (places.config, places.data, places.cache, places.state) == tuple(
        home / name for name in ("config", "data", "cache", "state")
    )
    assert places.models == home / "data" / "models"
    assert not home.exists()


def test_models_lie_elsewhere(tmp_path: Path) -> None:
    places = find_places({"MIXCHAT_HOME": str(tmp_path), "MIXCHAT_MODELS": str(tmp_path / "disk")})
    assert places.models == tmp_path / "disk"


def test_without_variables_the_platform_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    places = find_places({"MIXCHAT_HOME": "", "MIXCHAT_MODELS": ""})
    folders = (places.config, places.data, places.cache, places.state)
    assert all(folder.name == "mixchat" and folder.is_relative_to(tmp_path) for folder in folders)
    assert places.models == places.data / "models"


def test_relative_and_tilde_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert find_places({"MIXCHAT_HOME": "here"}).config == tmp_path / "here" / "config"
    assert find_places({"MIXCHAT_HOME": "~/there"}).config == tmp_path / "there" / "config"


def test_private_folders_are_closed(tmp_path: Path) -> None:
    new = ensure_private(tmp_path / "a" / "b")
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    opened = tmp_path / "open"
    opened.mkdir()
    opened.chmod(0o755)
    ensure_private(opened)
    assert stat.S_IMODE(opened.stat().st_mode) == 0o700
    ensure_private(opened)


@pytest.mark.parametrize("make", [ensure_folder, ensure_private])
def test_a_file_in_the_way_is_an_error_with_a_next_step(make: Callable[[Path], Path], tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for folder in (blocked, blocked / "below"):
        with pytest.raises(OutputError, match="cannot be made") as caught:
            make(folder)
        assert "MIXCHAT_HOME" in caught.value.hint


def test_libraries_are_imported_only_when_needed() -> None:
    source = (
        "import sys, mixchat.store.places, mixchat.store.proofs; print({'platformdirs', 'filelock'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
