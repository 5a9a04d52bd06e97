"""A command on a real pseudo-terminal, and what a person would see on its screen."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pexpect
import pyte

_BRACKETED_PASTE: Final = 2004 << 5
_PATIENCE: Final = 20.0


class PtyScreen:
    """Runs a command in a terminal of `rows` x `columns`."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], rows: int = 24, columns: int = 80) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self.child = pexpect.spawn(
            argv[0],
            list(argv[1:]),
            env=dict(environ),
            dimensions=(rows, columns),
            echo=True,
            timeout=_PATIENCE,
            preexec_fn=_default_signals,
        )
        self.child.delaybeforesend = None

    @property
    def lines(self) -> list[str]:
        """The screen's lines that hold anything, without trailing blanks."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            del lines[-1]
        return lines

    @property
    def cursor_shown(self) -> bool:
        return not self._screen.cursor.hidden

    @property
    def styled(self) -> bool:
        """Whether what is written next would be styled."""
        return bool(self._screen.cursor.attrs.reverse or self._screen.cursor.attrs.fg != "default")

    @property
    def bracketed_paste(self) -> bool:
        return _BRACKETED_PASTE in self._screen.mode

    def type(self, keys: str) -> None:
        """Press keys; Enter is a carriage return."""
        self.child.send(keys)

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size, as one that does not wrap lines anew."""
        self.child.setwinsize(rows, columns)
        self._screen.resize(rows, columns)

    def resize_wrapping(self, rows: int, columns: int) -> None:
        """Change the terminal's size, as one that wraps its lines anew when it gets narrower."""
        cursor, lines = self._screen.cursor, [line.rstrip() for line in self._screen.display]
        above = sum(max(len(line) - 1, 0) // columns for line in lines[: cursor.y]) + cursor.x // columns
        place = cursor.y + above, cursor.x % columns
        wrapped = [line[at : at + columns] for line in lines for at in range(0, max(len(line), 1), columns)][:rows]
        self._screen.resize(rows, columns)
        self._stream.feed(b"\x1b[H\x1b[J" + "\r\n".join(wrapped).encode())
        self._screen.cursor_position(place[0] + 1, place[1] + 1)
        self.child.setwinsize(rows, columns)

    def wait(self, seen: Callable[[list[str]], bool]) -> float:
        """Read until the screen shows it; the seconds that took."""
        begin = time.monotonic()
        while not seen(self.lines):
            if time.monotonic() - begin > _PATIENCE:
                raise AssertionError("The screen shows:\n" + "\n".join(self.lines))
            self._read(0.05)
        return time.monotonic() - begin

    def wait_for(self, text: str) -> float:
        """Read until some line has this text; the seconds that took."""
        return self.wait(lambda lines: any(text in line for line in lines))

    def wait_for_last(self, line: str) -> float:
        """Read until this is the last line, as a prompt is."""
        return self.wait(lambda lines: bool(lines) and lines[-1] == line)

    def end(self) -> int:
        """Read to the end; the exit code, or minus the signal."""
        begin = time.monotonic()
        while self._read(0.1):
            assert time.monotonic() - begin < _PATIENCE, "\n".join(self.lines)
        self.child.close(force=True)
        code, number = self.child.exitstatus, self.child.signalstatus
        return -number if code is None else int(code)

    def settle(self, seconds: float = 0.4) -> None:
        """Read until nothing has come for so long."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < seconds:
            before = len(self.raw)
            self._read(0.05)
            if len(self.raw) != before:
                quiet_since = time.monotonic()

    def _read(self, seconds: float) -> bool:
        try:
            content = self.child.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += content
        self._stream.feed(content)
        return True


def _default_signals() -> None:
    """What started the tests may ignore some, and hand that on."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def environment(**changed: str) -> dict[str, str]:
    """This test's environment for a command on a terminal, whose own width counts."""
    return {name: value for name, value in os.environ.items() if name != "COLUMNS"} | changed
