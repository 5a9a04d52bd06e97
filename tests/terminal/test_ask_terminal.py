"""`ask -i`: what is piped is answered on stdout, and then the terminal is opened anew."""

import os
import sys
from pathlib import Path

import pexpect

ASK = "echo piped | \"$PYTHON\" -m mixchat ask -m demo 'Say hi.' -i --max-tokens 3 > out.txt; echo code $?"


def test_a_chat_goes_on_behind_a_pipe(demo_model: Path, tmp_path: Path) -> None:
    own = {
        "MIXCHAT_HOME": str(tmp_path / "home"),
        "MIXCHAT_MODELS": str(demo_model.parents[1]),
        "PYTHON": sys.executable,
    }
    child = pexpect.spawn(
        "bash",
        ["-c", ASK],
        env={**os.environ, **own},
        cwd=str(tmp_path),
        timeout=60,
        encoding="utf-8",
        dimensions=(24, 80),
    )
    try:
        child.expect(">>>")
        answer = (tmp_path / "out.txt").read_text()
        child.send("And you?\r")
        child.expect("cut off")
        child.expect(">>>")
        child.send("\x04")
        child.expect("code 0")
    finally:
        child.close(force=True)
    assert answer.strip()
    assert (tmp_path / "out.txt").read_text() == answer
    (session,) = (tmp_path / "home" / "data" / "sessions").glob("*.jsonl")
    text = session.read_text()
    assert "Say hi.\\n\\npiped" in text
    assert "And you?" in text
    assert '"for":"ask"' not in text
