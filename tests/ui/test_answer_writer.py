import errno
import os
import subprocess
import sys
from io import UnsupportedOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import OutputError
from mixchat.ui.answer import AnswerWriter
from mixchat.ui.output import write_text
from tests.fakes.streams import FakeStream


class Failing(FakeStream):
    """A stream whose writes fail."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def flush(self) -> None:
        if self.error.errno:
            raise self.error

    def fileno(self) -> int:
        raise UnsupportedOperation


@given(st.lists(st.text()))
def test_a_pipe_gets_the_text_unchanged_and_ends_its_line(pieces: list[str]) -> None:
    stream = FakeStream(encoding="ascii")
    with AnswerWriter(stream) as writer:
        for piece in pieces:
            writer.write(piece)
    text = "".join(pieces)
    expected = text if not text or text.endswith("\n") else text + "\n"
    assert stream.bytes.getvalue() == expected.encode()


def test_a_terminal_gets_it_cleaned_in_its_own_encoding() -> None:
    stream = FakeStream(encoding="latin-1", terminal=True)
    with AnswerWriter(stream) as writer:
        writer.write("é\x1b")
        writer.write("]0;t\x07 中")
    assert stream.bytes.getvalue() == b"\xe9\\u241b]0;t\\u2407 \\u4e2d\n"


def test_every_piece_is_out_at_once() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        AnswerWriter(stream).write("now")
        assert os.read(reader, 100) == b"now"
    os.close(reader)


def test_a_full_disk_is_an_error() -> None:
    stream = Failing(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OutputError) as caught:
        write_text(stream, "lost")
    stream.error = OSError()
    assert caught.value.exit_code == 12
    assert caught.value.message == "The output could not be written: No space left on device."


def test_a_gone_reader_is_left_to_the_command() -> None:
    stream = Failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    with pytest.raises(BrokenPipeError), AnswerWriter(stream) as writer:
        writer.write("lost")
    stream.error = OSError()


def test_python_ends_cleanly_after_a_full_disk() -> None:
    code = (
        "import sys\n"
        "from mixchat.errors import OutputError\n"
        "from mixchat.ui.answer import AnswerWriter\n"
        "try:\n"
        "    with AnswerWriter(sys.stdout) as writer: writer.write('lost')\n"
        "except OutputError as error: sys.exit(error.exit_code)\n"
    )
    with open("/dev/full", "w") as full:  # noqa: PTH123
        run = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (run.returncode, run.stderr) == (12, b"")
