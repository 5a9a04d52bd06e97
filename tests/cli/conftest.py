"""The command with the demo model, and its build proven, once for all tests."""

from pathlib import Path

import pytest

from tests.app.conftest import make_house, model_file, two_layers
from tests.command import Command

__all__ = ["bare", "make_house", "mixchat", "model_file", "two_layers"]


@pytest.fixture(scope="session")
def mixchat(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command on a machine that has the demo model and has run it before."""
    folder = tmp_path_factory.mktemp("folder")
    command = Command(tmp_path_factory.mktemp("home"), folder, MIXCHAT_MODELS=str(demo_model.parents[1]))
    first = command.run("ask", "-m", "demo", "hi", "--max-tokens", "1")
    assert first.code == 0, first.stderr
    return command


@pytest.fixture
def bare(tmp_path: Path) -> Command:
    """The command on an empty machine."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return Command(tmp_path / "home", folder)
