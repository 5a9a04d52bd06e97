import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from mixchat.ui.clipboard import osc52
from tests.terminal.pty_screen import PtyScreen, environment

TEXT = "x" * 20_000
ENCODED = base64.b64encode(TEXT.encode())


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
@pytest.mark.parametrize("option", ["set-clipboard on", "allow-passthrough on"])
def test_tmux_passes_it_on_when_it_is_told_to(tmp_path: Path, option: str) -> None:
    (tmp_path / "conf").write_text(f"set -gq {option}\n")
    (tmp_path / "copied").write_text(osc52(TEXT, {"TERM": "screen", "TMUX": "it runs"}))
    environ = environment(TMUX_TMPDIR=str(tmp_path))
    shell = f"cat '{tmp_path}/copied'; echo done; sleep 0.3; read line"
    screen = PtyScreen(["tmux", "-f", str(tmp_path / "conf"), "new-session", shell], environ)
    try:
        screen.wait_for("done")
        screen.type("\r")
        screen.end()
    finally:
        subprocess.run(["tmux", "kill-server"], env=environ, timeout=5, check=False, stderr=subprocess.DEVNULL)
    assert ENCODED in screen.raw
    assert not any("xxxx" in line or "eHh4" in line for line in screen.lines)
