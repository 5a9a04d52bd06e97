"""Files that are in use are not removed from under their users."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mixchat.errors import InUse
from mixchat.store.locks import Uses, unused

USER = """
import sys, time, pathlib
from mixchat.store.locks import Uses
Uses().begin(pathlib.Path(sys.argv[1]))
uses = Uses()
uses.begin(pathlib.Path(sys.argv[1]))
print("used", flush=True)
time.sleep(60)
"""


@contextmanager
def user(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", USER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "used\n"
        yield process
        process.kill()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    path.chmod(0o444)
    return path


def test_a_file_is_in_use_until_its_last_user_is_killed(model: Path) -> None:
    uses = Uses()
    with user(model) as first:
        uses.begin(model)
        with pytest.raises(InUse, match=r"model\.gguf is in use") as caught, unused([model]):
            pass
        assert caught.value.exit_code == 13
        first.kill()
        first.wait()
        with pytest.raises(InUse), unused([model]):
            pass
    uses.end()
    with unused([model]):
        pass


def test_every_name_of_a_file_counts(model: Path) -> None:
    link = model.with_name("link.gguf")
    link.hardlink_to(model)
    with user(link), pytest.raises(InUse), unused([model]):
        pass


def test_only_the_last_file_is_in_use(model: Path) -> None:
    other = model.with_name("other.gguf")
    other.write_bytes(b"GGUF")
    uses = Uses()
    uses.begin(model)
    uses.begin(other)
    with unused([model]):
        pass
    with pytest.raises(InUse), unused([model, other]):
        pass
    uses.end()
    uses.end()


def test_a_file_that_is_being_removed_cannot_be_used(model: Path) -> None:
    with unused([model]), pytest.raises(InUse):
        Uses().begin(model)


def test_what_is_not_there_is_in_nobody_s_use(tmp_path: Path) -> None:
    Uses().begin(tmp_path / "none.gguf")
    with unused([tmp_path / "none.gguf"]):
        pass


def test_a_failure_frees_what_was_taken(model: Path) -> None:
    other = model.with_name("other.gguf")
    other.write_bytes(b"GGUF")
    uses = Uses()
    uses.begin(other)
    with pytest.raises(InUse), unused([model, other]):
        pass
    Uses().begin(model)
    uses.end()
