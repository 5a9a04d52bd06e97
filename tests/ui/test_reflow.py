import pytest

from mixchat.ui.reflow import wraps_anew


@pytest.mark.parametrize(
    ("environ", "wraps"),
    [
        ({}, False),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-256color", "TMUX": "/tmp/tmux-0/default,1,0"}, True),
        ({"TERM": "tmux-256color"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, True),
        ({"TERM": "linux", "TMUX": ""}, False),
    ],
)
def test_terminals_that_wrap_lines_anew(environ: dict[str, str], wraps: bool) -> None:
    assert wraps_anew(environ) == wraps
