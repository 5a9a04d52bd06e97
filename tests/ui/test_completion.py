import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.ui.completion import Choice, CommandWords, matching
from mixchat.ui.file_words import complete_files

WORDS = CommandWords(
    names={"edit": "edit a message", "exit": "leave", "file": "add files", "set": "change a setting"},
    arguments={
        "set": lambda: ["seed", "top_k", "top_p"],
        "set keys": lambda: ["emacs", "vi"],
        "load": lambda: ["my old chat"],
    },
    file_commands={"file"},
)


def completed(line: str) -> list[str]:
    return [line[: choice.start] + choice.text for choice in WORDS.complete(line)]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("/", ["/edit", "/exit", "/file ", "/set "]),
        ("/e", ["/edit", "/exit"]),
        ("/EX", ["/exit"]),
        ("/xi", ["/exit"]),
        ("/eixt", ["/exit", "/edit"]),
        ("/zzz", []),
        ("/set ", ["/set seed", "/set top_k", "/set top_p"]),
        ("/set top", ["/set top_k", "/set top_p"]),
        ("/set tpo_k", ["/set top_k", "/set top_p"]),
        ("/set keys v", ["/set keys vi"]),
        ("/set seed 1", []),
        ("/edit 1", []),
        ("/load my ol", ["/load my old chat"]),
        ("hello /e", []),
        ("", []),
        ("/e\nx", []),
    ],
)
def test_commands_and_their_arguments(line: str, lines: list[str]) -> None:
    assert completed(line) == lines


def test_a_choice_has_its_meaning() -> None:
    assert list(WORDS.complete("/ex")) == [Choice("/exit", 0, "leave")]


def test_never_more_than_can_be_looked_at() -> None:
    assert len(matching("", [str(number) for number in range(1000)])) == 200


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("notes.md", "a file.txt", "it's.md", ".hidden", "evil\x1b[2J.md", "Upper.txt", "a[1].md"):
        (tmp_path / name).write_text("12345")
    (tmp_path / "my folder").mkdir()
    (tmp_path / "my folder" / "inside.md").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("", ["Upper.txt", "a\\ file.txt", "a[1].md", "dangling", "it\\'s.md", "my\\ folder/", "notes.md"]),
        ("no", ["notes.md"]),
        ("upp", ["Upper.txt"]),
        (".", [".hidden"]),
        ("x no", ["x notes.md"]),
        ("a\\ f", ["a\\ file.txt"]),
        ("'a f", ["'a file.txt'"]),
        ('"a f', ['"a file.txt"']),
        ("\"it'", ['"it\'s.md"']),
        ("'it'\\''", ["'it'\\''s.md'"]),
        ("my", ["my\\ folder/"]),
        ("'my", ["'my folder/"]),
        ("'my folder/", ["'my folder/inside.md'"]),
        ("my\\ folder/in", ["my\\ folder/inside.md"]),
        ("~", ["~/"]),
        ("~/no", ["~/notes.md"]),
        ("~/n*.md", ["~/notes.md"]),
        ("*.txt", ["Upper.txt", "a\\ file.txt"]),
        ("*/*.md", ["my\\ folder/inside.md"]),
        ("a[", ["a[1].md"]),
        ("nowhere/", []),
        ("\0", []),
        ("evil", []),
    ],
)
def test_files(line: str, lines: list[str]) -> None:
    assert [line[: word.start] + word.text for word in complete_files(line)] == lines


@pytest.mark.usefixtures("folder")
def test_what_a_file_is() -> None:
    assert [word.meaning for word in complete_files("n")] == ["5 B"]
    assert [word.meaning for word in complete_files("m")] == ["folder"]
    assert [word.meaning for word in complete_files("dang")] == [""]


@pytest.mark.usefixtures("folder")
def test_files_behind_a_command() -> None:
    assert completed("/file no") == ["/file notes.md"]
    assert completed("/file 'a file.txt' no") == ["/file 'a file.txt' notes.md"]


@given(name=st.text(alphabet="ab '\"\\*~", min_size=1, max_size=8), quote=st.sampled_from(["", "'", '"']))
def test_a_completed_file_is_read_as_its_name(tmp_path_factory: pytest.TempPathFactory, name: str, quote: str) -> None:
    folder = tmp_path_factory.mktemp("one")
    (folder / f"x{name}").touch()
    words = list(complete_files(f"{quote}{folder}/x"))
    assert [shlex.split(word.text) for word in words] == [[os.fspath(folder / f"x{name}")]]
