import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mixchat.app import attaching
from mixchat.app.attaching import count_tokens, read_attachments
from mixchat.chat.attachments import Attachment
from mixchat.chat.messages import Piece
from mixchat.engine.events import LoadRequest
from mixchat.errors import MixchatError, NotFound, UsageError
from tests.fakes.engine import FakeEngine


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A small project."""
    folder = tmp_path / "project"
    for name in ("b.py", "a.py", "src/c.py", "src/deep/d.py", "src/.hidden.py", "notes.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return folder


def names(base: Path, *patterns: str) -> list[str]:
    return [attachment.name for attachment in read_attachments(patterns, base)]


def refused(base: Path, *patterns: str) -> MixchatError:
    with pytest.raises(MixchatError) as caught:
        read_attachments(patterns, base)
    return caught.value


def test_files_are_read_and_named_from_the_base(base: Path) -> None:
    found = read_attachments(["src/c.py", "a.py"], base)
    assert found == (Attachment("src/c.py", "# src/c.py\n"), Attachment("a.py", "# a.py\n"))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*.py"], ["a.py", "b.py"]),
        (["**/*.py"], ["a.py", "b.py", "src/c.py", "src/deep/d.py"]),
        (["src/**"], ["src/c.py", "src/deep/d.py"]),
        (["src/.h*"], ["src/.hidden.py"]),
        (["[ab].py"], ["a.py", "b.py"]),
        (["./src/../a.py"], ["a.py"]),
    ],
)
def test_globs(base: Path, patterns: list[str], expected: list[str]) -> None:
    assert names(base, *patterns) == expected


def test_each_file_comes_once_however_it_is_named(base: Path) -> None:
    (base / "link.py").symlink_to(base / "b.py")
    assert names(base, "b.py", "*.py", str(base / "a.py"), "./b.py", "link.py") == ["b.py", "a.py"]


def test_files_elsewhere_keep_their_whole_name(base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("x")
    assert names(base, "../outside.txt", "a.py") == [outside.as_posix(), "a.py"]


def test_a_person_s_own_folder(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names(base, "~/project/notes.txt") == ["notes.txt"]
    assert names(base, "~/proj*/n*.txt") == ["notes.txt"]


def test_a_base_and_a_file_with_the_characters_of_globs(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*"
    folder.mkdir()
    (folder / "[id].tsx").write_text("x")
    (folder / "b.tsx").write_text("y")
    assert names(folder, "[id].tsx") == ["[id].tsx"]
    assert names(folder, "b.*") == ["b.tsx"]


def test_a_folder_is_refused_with_a_glob_that_works(base: Path) -> None:
    error = refused(base, "src/")
    assert isinstance(error, UsageError)
    assert error.message == "src is a folder."
    assert error.hint == "Name its files: src/*"
    assert names(base, "src/*") == ["src/c.py"]
    assert refused(base, "").message == ". is a folder."


@pytest.mark.parametrize("pattern", ["none.txt", "none/*.py", "*.rs", "a.py/b", "a\0", "a\0*", "n" * 5000])
def test_what_is_not_there_is_named(base: Path, pattern: str) -> None:
    error = refused(base, "a.py", pattern)
    assert isinstance(error, NotFound)
    assert pattern in error.message


def test_encodings_are_detected(base: Path) -> None:
    (base / "u16.txt").write_bytes("grün".encode("utf-16"))
    (base / "latin.txt").write_bytes("grün, größer".encode("latin-1"))
    assert [each.text for each in read_attachments(["u16.txt", "latin.txt"], base)] == ["grün", "grün, größer"]


def test_binary_is_refused_by_name(base: Path) -> None:
    (base / "src" / "x.pyc").write_bytes(bytes(range(256)))
    assert refused(base, "src/*").message == "src/x.pyc is binary, not text."


def test_a_large_file_is_refused_in_one_line(base: Path) -> None:
    with (base / "large.txt").open("wb") as file:
        file.truncate(attaching.MOST_BYTES + 1)
    assert refused(base, "large.txt").message == "large.txt is larger than 16.0 MiB."


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="has no endless file")
def test_an_endless_file_is_refused(base: Path) -> None:
    assert refused(base, "/dev/zero").message == "/dev/zero is larger than 16.0 MiB."


def test_many_files_are_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "MOST_FILES", 3)
    assert names(base, "*.py", "*.py", "a.py", "notes.txt") == ["a.py", "b.py", "notes.txt"]
    assert "over 3 files" in refused(base, "**/*.py").message


def test_much_together_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "MOST_TOTAL", 14)
    assert len(names(base, "*.py")) == 2
    assert refused(base, "**/*.py").message == "The files are larger than 14 B together."


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(base: Path) -> None:
    (base / "a.py").chmod(0)
    assert refused(base, "a.py").message == "a.py cannot be read: Permission denied."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied"), "a.py cannot be read: Permission denied."),
        (FileNotFoundError(2, "No such file"), "The file a.py is gone."),
    ],
)
def test_a_file_that_fails_when_it_is_opened(
    base: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, expected: str
) -> None:
    def failing(_path: Path, _mode: str) -> None:
        raise error

    monkeypatch.setattr(Path, "open", failing)
    assert refused(base, "a.py").message == expected


class Counting(FakeEngine):
    def tokenize(self, pieces: Sequence[Piece], *, prompt: bool) -> tuple[tuple[int, ...], ...]:
        assert not prompt
        return super().tokenize(pieces, prompt=True)


def test_tokens_are_counted_as_they_stand_in_a_message() -> None:
    engine = Counting()
    list(engine.load(LoadRequest("a.gguf", vocab_only=True)))
    files = (Attachment("a", "x"), Attachment("bb", "yy\n"))
    assert count_tokens(engine, files) == (len("File a:\n```\nx\n```"), len("File bb:\n```\nyy\n```"))
    assert count_tokens(engine, ()) == ()
    assert len(engine.tokenized) == 1
