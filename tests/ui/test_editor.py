import os
import signal
import tempfile
import threading
from pathlib import Path

import pytest

from mixchat.errors import OutputError, UsageError
from mixchat.ui import editor
from mixchat.ui.editor import edit_text


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def scripted(folder: Path, script: str) -> dict[str, str]:
    path = folder / "an editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return {"EDITOR": f"'{path}' --wait"}


def left(folder: Path) -> list[Path]:
    return list((folder / "temporary").iterdir())


@pytest.mark.parametrize(
    ("before", "script", "after"),
    [
        ("a", 'echo b >> "$2"', "a\nb"),
        ("a", 'printf b > "$2"', "b"),
        ("a", 'printf "b\\r\\nc\\r\\n" > "$2"', "b\nc"),
        ("a\n", 'echo b >> "$2"', "a\n\nb"),
        ("a\nb", 'sed -i s/a/x/ "$2"', "x\nb"),
        ("a", ': > "$2"', ""),
        ("", 'echo a > "$2"', "a"),
        ("a\n\u4e2d\ud800", "true", None),
        ("", "true", None),
    ],
)
def test_what_the_editor_left(tmp_path: Path, before: str, script: str, after: str | None) -> None:
    assert edit_text(before, scripted(tmp_path, script)) == after
    assert left(tmp_path) == []


def test_the_file_is_private_and_markdown(tmp_path: Path) -> None:
    environ = scripted(tmp_path, f'umask 0; {{ stat -c %a "$2" "$(dirname "$2")"; basename "$2"; }} > {tmp_path}/seen')
    assert edit_text("text", environ) is None
    assert (tmp_path / "seen").read_text().split() == ["600", "700", "message.md"]


def test_visual_comes_first(tmp_path: Path) -> None:
    environ = scripted(tmp_path, 'echo b > "$2"')
    assert edit_text("a", {"VISUAL": environ["EDITOR"], "EDITOR": "false"}) == "b"
    assert edit_text("a", {"VISUAL": "", **environ}) == "b"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "No editor is set"),
        ({"EDITOR": "  "}, "No editor is set"),
        ({"EDITOR": "nano '"}, "without its end"),
        ({"EDITOR": "/nowhere/at/all"}, "cannot be started: No such file"),
        ({"EDITOR": "sh -c 'exit 7'"}, "ended with status 7"),
        ({"EDITOR": "sh -c 'kill -9 $$'"}, "was killed by signal 9"),
        ({"EDITOR": "rm"}, "removed the file"),
        ({"EDITOR": "sh -c 'printf \"a\\0b\" > $0'"}, "is binary"),
    ],
)
def test_what_goes_wrong(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edit_text("text", {"PATH": os.environ["PATH"], **environ})
    assert left(tmp_path) == []


def test_a_text_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor, "_LIMIT", 10)
    with pytest.raises(UsageError, match="16 MiB"):
        edit_text("", scripted(tmp_path, 'echo 1234567890 > "$2"'))


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="No space left"):
        edit_text("text", {"EDITOR": "true"})


def test_ctrl_c_is_the_editors(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    environ = scripted(tmp_path, 'kill -INT $PPID; trap "echo caught >> $2; exit 0" INT; kill -INT $$; sleep 5')
    assert edit_text("a", environ) == "a\ncaught"
    assert signal.getsignal(signal.SIGINT) is before


def test_it_works_beside_the_main_thread(tmp_path: Path) -> None:
    texts: list[str | None] = []
    environ = scripted(tmp_path, 'echo b > "$2"')
    thread = threading.Thread(target=lambda: texts.append(edit_text("a", environ)))
    thread.start()
    thread.join()
    assert texts == ["b"]


@pytest.mark.parametrize("deaf", [False, True])
def test_the_editor_ends_with_the_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
    monkeypatch.setattr(editor, "_PATIENCE", 0.3 if deaf else 20)
    script = f"""
echo $$ > {tmp_path}/pid
trap '{"" if deaf else f"echo > {tmp_path}/bye; exit"}' TERM
kill -TERM $PPID
while :; do sleep 0.02; done"""

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(SystemExit):
            edit_text("a", scripted(tmp_path, script))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "bye").exists() != deaf
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert left(tmp_path) == []
