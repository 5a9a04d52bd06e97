import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import InUse, OutputError
from mixchat.store.locks import hold
from mixchat.ui import input_history
from mixchat.ui.input_history import InputHistory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "input.jsonl"


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def test_what_was_typed_is_there_next_time(path: Path) -> None:
    texts = ["one", "two\nlines\n", 'quote " and \\', "\u4e2d \x1b \u2028 \x85", "one"]
    history = InputHistory(path)
    for text in texts:
        history.append(text)
    assert history.entries == texts
    assert InputHistory(path).entries == texts


def test_doubles_in_a_row_and_blanks_are_not_kept(path: Path) -> None:
    history = InputHistory(path)
    for text in ("a", "a", " \n", "", "b", "a"):
        history.append(text)
    InputHistory(path).append("a")
    assert InputHistory(path).entries == ["a", "b", "a"]
    assert path.read_bytes() == b'"a"\n"b"\n"a"\n'


def test_it_is_private(path: Path) -> None:
    before = os.umask(0)
    try:
        InputHistory(path).append("secret")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    InputHistory(path).append("another")
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    history = InputHistory(None)
    history.append("only here")
    assert history.entries == ["only here"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [b"\0" * 50 + b"\n", b'"torn\n', b"{}\n", b"17\n", b"\xff\xfe\n", b"\n\n", b"[" * 9000 + b"\n", b'"\\ud800"\n'],
)
def test_damaged_lines_are_passed_over(path: Path, damage: bytes) -> None:
    write(path, b'"one"\n' + damage + b'"two"\n')
    history = InputHistory(path)
    assert [text for text in history.entries if text != "\ufffd"] == ["one", "two"]


@given(cut=st.integers(0, 40))
def test_cut_off_anywhere_it_goes_on(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "input.jsonl"
    lines = [json.dumps(text).encode() for text in ("first", "second\nline", "third")]
    path.write_bytes((b"\n".join(lines) + b"\n")[:cut])
    whole = list(InputHistory(path).entries)
    InputHistory(path).append("new")
    assert InputHistory(path).entries == [*whole, "new"]
    assert whole == ["first", "second\nline", "third"][: len(whole)]


def test_it_keeps_the_newest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_history, "_MOST_ENTRIES", 50)
    history = InputHistory(path)
    for number in range(120):
        history.append(f"text {number}")
    assert history.entries == [f"text {number}" for number in range(70, 120)]
    kept = InputHistory(path).entries
    assert kept == [f"text {number}" for number in range(120 - len(kept), 120)]
    assert 40 <= len(kept) <= 50


def test_it_does_not_grow_beyond_its_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_history, "_MOST_BYTES", 1000)
    monkeypatch.setattr(input_history, "_LONGEST", 200)
    history = InputHistory(path)
    for number in range(100):
        history.append(f"{number:050}")
    history.append("long" * 100)
    assert path.stat().st_size <= 1000
    assert InputHistory(path).entries[-1] == f"{99:050}"
    assert history.entries[-1] == "long" * 100
    write(path, b'"x"\n' * 100 + b'"' + b"y" * 990 + b'\\"z"\n"last"\n')
    assert InputHistory(path).entries == ["last"]


def test_several_chats_at_once_lose_nothing(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mixchat.ui.input_history import InputHistory\n"
        "history = InputHistory(Path(sys.argv[1]))\n"
        "for number in range(60): history.append(f'{sys.argv[2]} {number}\\n' * 20)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    texts = InputHistory(path).entries
    for name in "abc":
        assert [text for text in texts if text.startswith(name)] == [f"{name} {number}\n" * 20 for number in range(60)]


def test_a_write_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = InputHistory(path)
    history.append("one")
    write_some = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, data: write_some(descriptor, data[:3]))
        with pytest.raises(OutputError, match="No space left"):
            history.append("two")
    assert path.read_bytes() == b'"one"\n'
    assert history.entries == ["one", "two"]
    history.append("three")
    assert InputHistory(path).entries == ["one", "three"]


def test_a_file_that_another_holds_is_not_waited_for_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_history, "_LOCK_SECONDS", 0.05)
    with hold(path.with_name(path.name + ".lock")), pytest.raises(InUse):
        InputHistory(path).append("text")


def test_what_is_no_file_is_no_history(path: Path) -> None:
    path.mkdir(parents=True)
    history = InputHistory(path)
    assert history.entries == []
    with pytest.raises(OutputError, match="could not be written"):
        history.append("text")


def test_a_file_that_cannot_be_read_is_no_history(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, b'"one"\n')

    def refuse(*_args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    assert InputHistory(path).entries == []


def test_a_link_to_nowhere_keeps_nothing(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(os.devnull)
    InputHistory(path).append("text")
    assert InputHistory(path).entries == []
    assert path.is_symlink()
