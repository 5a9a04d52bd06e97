import itertools
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from fcntl import ioctl
from typing import TextIO

import pytest

from mixchat.ui.console import (
    can_encode,
    has_colour,
    is_dumb,
    is_terminal,
    make_console,
    make_encodable,
    paint,
    width_of,
    write_line,
)
from mixchat.ui.output import print_out
from tests.fakes.streams import FakeStream

XTERM = {"TERM": "xterm-256color"}


@pytest.fixture
def tty() -> Iterator[TextIO]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        yield stream
    os.close(master)


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [
        (True, XTERM, True),
        (True, {}, True),
        (True, XTERM | {"NO_COLOR": ""}, True),
        (True, XTERM | {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "unknown"}, False),
        (False, XTERM, False),
        (False, XTERM | {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}, False),
    ],
)
def test_colour_needs_a_terminal_that_wants_it(terminal: bool, environ: dict[str, str], coloured: bool) -> None:
    stream = FakeStream(terminal=terminal)
    assert has_colour(stream, environ) is coloured
    assert paint("x", "dim", stream, environ) == ("\x1b[2mx\x1b[0m" if coloured else "x")
    make_console(stream, environ).print("[/INST] [bold]x[/] :smile: 12", style="cyan")
    line = "[/INST] [bold]x[/] :smile: 12"
    assert stream.written == (f"\x1b[36m{line}\x1b[0m\n" if coloured else f"{line}\n")


shades = itertools.count()
"""Rich remembers how a style was written, in whichever console: every test has a colour of its own."""


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"TERM": "xterm"}, "93"),
        ({}, "93"),
        ({"TERM": "xterm-16color"}, "93"),
        (XTERM, "38;5;214"),
        ({"TERM": " TMUX-256color "}, "38;5;214"),
        ({"TERM": "xterm-kitty"}, "38;5;214"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "38;2;255;175;{}"),
        (XTERM | {"COLORTERM": "24bit"}, "38;2;255;175;{}"),
        (XTERM | {"COLORTERM": "yes"}, "38;5;214"),
        (XTERM | {"NO_COLOR": "1", "COLORTERM": "truecolor"}, None),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, None),
    ],
)
def test_as_many_colours_as_the_terminal_says_it_has(environ: dict[str, str], code: str | None) -> None:
    stream, pipe, shade = FakeStream(terminal=True), FakeStream(), next(shades)
    make_console(stream, environ).print("x", style=f"#ffaf{shade:02x}")
    assert stream.written == (f"\x1b[{code.format(shade)}mx\x1b[0m\n" if code else "x\n")
    make_console(pipe, environ).print("x", style=f"#ffaf{next(shades):02x}")
    assert pipe.written == "x\n"


@pytest.mark.parametrize(
    ("style", "environ"),
    [
        ("bold", {"TERM": "xterm"}),
        ("italic", XTERM),
        ("underline", XTERM | {"COLORTERM": "truecolor"}),
    ],
)
def test_named_colours_stay_the_theme_s(style: str, environ: dict[str, str]) -> None:
    stream = FakeStream(terminal=True)
    make_console(stream, environ).print("x", style=f"{style} bright_cyan on black")
    assert stream.written.endswith(";96;40mx\x1b[0m\n")


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_terminal_is_as_wide_as_it_says(term: str) -> None:
    stream = FakeStream(terminal=True)
    make_console(stream, {"TERM": term, "COLUMNS": "30"}).print("word " * 20)
    assert max(map(len, stream.written.splitlines())) <= 30


def test_nothing_is_wrapped_into_a_pipe() -> None:
    stream = FakeStream()
    make_console(stream, XTERM | {"COLUMNS": "10"}).print("word " * 100 + "end")
    assert stream.written == "word " * 100 + "end\n"


def test_a_table_in_a_pipe_has_no_trailing_blanks() -> None:
    from rich.table import Table

    table = Table.grid("a", "b", padding=(0, 2, 0, 0))
    table.add_row("x" * 200, "y")
    table.add_row("x", "yyy")
    stream = FakeStream()
    print_out(stream, XTERM, table)
    assert stream.written == "x" * 200 + "  y\n" + "x" + " " * 201 + "yyy\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_encoding_fails(encoding: str) -> None:
    stream = FakeStream(encoding=encoding, terminal=True)
    write_line(stream, "é … 中 \ud800")
    make_console(stream, XTERM).print("…")
    expected = "é … 中 \ud800\n…\n".encode(encoding, "backslashreplace")
    assert stream.bytes.getvalue() == expected


def test_encodable_is_asked_before() -> None:
    assert can_encode(FakeStream(), "━")
    assert not can_encode(FakeStream(encoding="latin-1"), "━")
    assert make_encodable(make_encodable(FakeStream(encoding="ascii"))).errors == "backslashreplace"


def test_a_closed_stream_is_no_terminal() -> None:
    stream = FakeStream(terminal=False)
    stream.close()
    with open(os.devnull) as file:  # noqa: PTH123
        pass
    assert not is_terminal(stream)
    assert not is_terminal(file)


def test_a_line_is_lost_quietly_when_its_stream_is_gone() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        write_line(full, "nobody reads this")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_width_is_wished_then_asked_then_guessed(tty: TextIO) -> None:
    ioctl(tty, termios.TIOCSWINSZ, struct.pack("4H", 24, 51, 0, 0))
    assert width_of(tty, {}) == 51
    assert width_of(tty, {"COLUMNS": "33"}) == 33
    assert width_of(tty, {"COLUMNS": "0"}) == 51
    assert width_of(tty, {"COLUMNS": "wide"}) == 51
    ioctl(tty, termios.TIOCSWINSZ, struct.pack("4H", 0, 0, 0, 0))
    assert width_of(tty, {}) == 80
    assert width_of(FakeStream(), {}) == 80


def test_dumb_is_said_by_term() -> None:
    assert is_dumb({"TERM": "DUMB"})
    assert not is_dumb(XTERM)
    assert not is_dumb({})


def test_simple_paths_import_neither_rich_nor_prompt_toolkit() -> None:
    code = (
        "import sys, mixchat.ui.answer, mixchat.ui.errors, mixchat.ui.progress, mixchat.ui.stats\n"
        "import mixchat.ui.chat.repl, mixchat.ui.tables\n"
        "print([name for name in ('rich', 'prompt_toolkit', 'numpy', 'llama_cpp') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
