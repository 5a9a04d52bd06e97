import codecs
import fcntl
import os
import random
import re
import struct
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pyte
import pytest

from mixchat.ui.markdown import MarkdownWriter
from tests.fakes.markdown import SGR, cut, lasting, long_answer, render

ROWS, COLUMNS = 24, 80
ENVIRON = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
ANSWER = long_answer(21)


class Tty:
    """A pseudo-terminal, what was written to it, and the screen with everything that has scrolled off it."""

    def __init__(self, rows: int = ROWS, columns: int = COLUMNS) -> None:
        self.master, slave = os.openpty()
        os.set_blocking(self.master, False)
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._feed = pyte.ByteStream(self.screen).feed
        self.raw = b""
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.stream, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self) -> None:
        try:
            while content := os.read(self.master, 65536):
                self.raw += content
                self._feed(content)
        except BlockingIOError:
            pass

    def everything(self) -> list[list[Any]]:
        """Every line with its characters' styles, from the first one that scrolled off to the last on the screen."""
        lines = [*self.screen.history.top, *(self.screen.buffer[row] for row in range(self.screen.lines))]
        shown = [[line[column] for column in range(self.screen.columns)] for line in lines]
        while shown and not "".join(char.data for char in shown[-1]).strip():
            del shown[-1]
        return shown

    def text(self) -> list[str]:
        return ["".join(char.data for char in line).rstrip() for line in self.everything()]

    def close(self) -> None:
        self.stream.close()
        os.close(self.master)


@contextmanager
def terminal(rows: int = ROWS, columns: int = COLUMNS) -> Iterator[Tty]:
    tty = Tty(rows, columns)
    try:
        yield tty
    finally:
        tty.close()


def stream_to(tty: Tty, pieces: Iterable[str]) -> None:
    with MarkdownWriter(tty.stream, ENVIRON) as writer:
        for piece in pieces:
            writer.write(piece)
            tty.read()
    tty.read()


@pytest.mark.parametrize("sizes", [(1,), (4,), (3, 17, 1, 250)])
def test_500_streamed_lines_leave_what_rendering_at_once_leaves(sizes: tuple[int, ...]) -> None:
    assert ANSWER.count("\n") > 500
    with terminal() as streamed, terminal() as at_once:
        stream_to(streamed, cut(ANSWER, *sizes))
        stream_to(at_once, cut(ANSWER, 2000))
        assert streamed.everything() == at_once.everything()
        expected = SGR.sub("", render(ANSWER, COLUMNS, colour=True)).splitlines()
        assert [line.rstrip() for line in expected] == streamed.text()


def test_nothing_but_styles_and_the_status_line_is_sent() -> None:
    with terminal() as tty:
        stream_to(tty, cut(ANSWER, 4))
        output = tty.raw.decode().replace("\r\n", "\n")
        assert "… table, 2 rows" in output
        assert "\x1b" not in SGR.sub("", lasting(output))
        assert "\r" not in lasting(output)
        assert lasting(output) == lasting(render(ANSWER, COLUMNS, colour=True))


@pytest.mark.parametrize("seed", range(5))
def test_a_resize_storm_loses_and_doubles_nothing(seed: int) -> None:
    chance = random.Random(seed)
    answer = re.sub(r"(?m)^\|.*\n", "", ANSWER)
    with terminal() as tty, MarkdownWriter(tty.stream, ENVIRON) as writer:
        for piece in cut(answer, 7):
            if chance.random() < 0.3:
                tty.resize(chance.randint(1, 60), chance.choice([1, 2, 5, 10, 40, 80, 200, 500]))
            writer.write(piece)
            tty.read()
        writer.end()
        tty.read()
        shown = SGR.sub("", tty.raw.decode())
    at_once = SGR.sub("", render(answer, 80, colour=True))
    marks = re.compile(r"[│•─\s]")
    assert marks.sub("", shown) == marks.sub("", at_once)


def test_after_a_resize_what_follows_is_as_wide_as_the_terminal() -> None:
    before, after = long_answer(3), "\n\n" + long_answer(3)
    with terminal() as tty, MarkdownWriter(tty.stream, ENVIRON) as writer:
        for piece in cut(before, 5):
            writer.write(piece)
            tty.read()
        tty.resize(30, 40)
        for piece in cut(after, 5):
            writer.write(piece)
            tty.read()
        writer.end()
        tty.read()
        output = lasting(tty.raw.decode().replace("\r\n", "\n"))
    assert output == lasting(render(before + "\n", 80, colour=True) + "\n" + render(after, 40, colour=True))


def test_thinking_is_one_status_line_and_then_one_line() -> None:
    now = [0.0]
    with terminal() as tty, MarkdownWriter(tty.stream, ENVIRON, lambda: now[0]) as writer:
        for _ in range(170):
            writer.think("so what\n")
            now[0] += 0.07
            tty.read()
        assert re.fullmatch(r"thinking … 3[34]\d words", "\n".join(tty.text()))
        writer.write("Answer.\n")
        tty.read()
        assert tty.text() == ["thought for 12 s, 340 words (/show thinking)", "Answer."]


ESC, CSI, ST = "\x1b", "\x1b[", "\x1b\\"
PAYLOADS = [
    *(f"{ESC}]{number};evil\x07" for number in (0, 1, 2, 4, 9, 10, 11, 12, 50, 104, 777, 1337)),
    *(f"{ESC}]{number};evil{ST}" for number in (0, 2, 7, 8)),
    *(f"{ESC}]52;{target};ZXZpbA=={end}" for target in ("c", "p", "s", "") for end in ("\x07", ST)),
    *(f"{CSI}?{mode}h" for mode in (1, 3, 5, 6, 25, 47, 1000, 1003, 1006, 1049, 2004)),
    *(f"{CSI}?{mode}l" for mode in (7, 25)),
    *(f"{CSI}{move}" for move in ("2J", "3J", "H", "10;10H", "5A", "5B", "5C", "5D", "K", "s", "u", "2;5r", "6n", "c")),
    *(f"{CSI}{style}" for style in ("8m", "31m", "4h", "20h", "18t", "!p")),
    *(ESC + char for char in ("c", "7", "8", "D", "M", "(0", "#8", "=", ">", "Z")),
    *(f"{ESC}{opening}evil{ST}" for opening in ("P", "P$q", "^", "_", "X", "P+q", "_G")),
    *("\x9b2J", "\x9b?1049h", "\x9d0;evil\x9c", "\x90evil\x9c", "\x9d52;c;ZXZpbA==\x9c", "\x85", "\x8d", "\x9f"),
    *("\u202eevil\u202c", "\u2066evil\u2069", "\u200fevil", "\u061cevil", "\u2028", "\ufeff", "\U000e0041"),
    *("\x07", "\x08\x08\x08", "\x0b", "\x0c", "\x0e", "\x0f", "\x00", "\x7f", "\r", "\x1a", "\x05"),
]
PLACES = [
    "{}",
    "- **{}**\n",
    "```\n{}\n```\n",
    "```python\nx = '{}'\n",
    "| {} | b |\n|---|---|\n| {} | c |\n",
    "[{}]({} '{}')",
]


@pytest.mark.parametrize("place", PLACES)
def test_escape_sequences_of_a_model_do_nothing(place: str) -> None:
    assert len(set(PAYLOADS)) >= 60
    for payload in PAYLOADS:
        whole = place.replace("{}", payload).encode()
        for at in range(1, len(whole)):
            check_harmless(_decoded(whole[:at], whole[at:]))


@pytest.mark.parametrize("form", ["&#{};", "&#x{:x};"])
def test_escape_sequences_spelled_as_entities_do_nothing(form: str) -> None:
    for payload in PAYLOADS:
        spelled = "".join(form.format(ord(char)) for char in payload)
        check_harmless(["say ", spelled, " and go on"])


def check_harmless(pieces: list[str]) -> None:
    """Render, and compare with what a terminal shows for plain text."""
    _check_output(lasting(render(pieces, COLUMNS, colour=True)))


@cache
def _check_output(output: str) -> None:
    plain = SGR.sub("", output)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200f\u2028\u202a-\u202e\u2066-\u2069\ufeff]", plain)
    screen = pyte.Screen(COLUMNS, ROWS)
    fresh = pyte.Screen(COLUMNS, ROWS)
    replies: list[str] = []
    screen.write_process_input = replies.append
    pyte.Stream(screen).feed(output.replace("\n", "\r\n"))
    assert (screen.title, screen.icon_name, replies) == ("", "", [])
    assert (screen.mode, screen.margins, screen.charset, screen.tabstops) == (
        *(fresh.mode, fresh.margins, fresh.charset),
        fresh.tabstops,
    )
    assert not screen.cursor.hidden
    assert screen.cursor.attrs == fresh.cursor.attrs
    assert (screen.cursor.x, screen.cursor.y) == (0, len(plain.splitlines()))


def _decoded(*parts: bytes) -> list[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(part) for part in parts]
