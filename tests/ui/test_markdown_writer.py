import errno

import pytest

from mixchat.errors import OutputError
from mixchat.ui.markdown import MarkdownWriter
from mixchat.ui.markdown.inline import REACH
from tests.fakes.markdown import cut, lasting, render
from tests.fakes.streams import FakeStream

PLAIN = {"TERM": "xterm", "COLUMNS": "60", "NO_COLOR": "1", "LANG": "C.UTF-8"}
COLOURED = {"TERM": "xterm", "COLUMNS": "60", "LANG": "C.UTF-8"}
STATUS = "\r\x1b[2K"


class Steps:
    """A writer, and what each piece adds."""

    def __init__(self, environ: dict[str, str] = PLAIN) -> None:
        self.stream = FakeStream(terminal=True)
        self.writer = MarkdownWriter(self.stream, environ)
        self._seen = 0

    def write(self, piece: str) -> str:
        self.writer.write(piece)
        return self.new()

    def end(self) -> str:
        self.writer.end()
        return self.new()

    def new(self) -> str:
        written = self.stream.written
        new, self._seen = written[self._seen :], len(written)
        return new


def test_words_are_out_as_soon_as_they_end() -> None:
    steps = Steps()
    assert [steps.write(piece) for piece in ("Hel", "lo", " wor", "ld", " a", "gain")] == [
        "",
        "",
        "Hello",
        "",
        " world",
        "",
    ]
    assert steps.end() == " again\n"


def test_an_open_mark_holds_back_only_what_follows_it() -> None:
    steps = Steps(COLOURED)
    assert steps.write("See **the bold") == "See"
    assert steps.write(" words** and") == " \x1b[1mthe\x1b[0m \x1b[1mbold\x1b[0m \x1b[1mwords\x1b[0m"
    assert steps.write(" so") == " and"
    assert steps.write(" [the") == " so"
    assert steps.write(" link](http://a.b)") == " the link"
    assert steps.end() == " (\x1b[4mhttp://a.b\x1b[0m)\n"


@pytest.mark.parametrize("mark", ["**", "_", "`", "[", "~~", "[text]("])
def test_a_mark_that_is_never_closed_holds_back_no_more_than_its_reach(mark: str) -> None:
    steps = Steps(PLAIN | {"COLUMNS": "500"})
    steps.write(mark)
    words = [f"word{number}" for number in range(REACH)]
    written = 0
    for number, word in enumerate(words):
        written += len(steps.write(word + " "))
        typed = len(mark) + sum(len(each) + 1 for each in words[: number + 1])
        assert typed - written <= REACH + len(mark) + 10
    steps.end()
    assert steps.stream.written.split() == (mark + " ".join(words)).split()


def test_a_line_of_code_is_out_when_it_is_complete() -> None:
    steps = Steps()
    assert steps.write("```text\nfirst") == "```text\n"
    assert steps.write(" line\nsecond") == "first line\n"
    assert steps.write("\n```") == "second\n"
    assert steps.write("\n") == "```\n"


def test_a_table_waits_with_a_status_line_that_is_erased() -> None:
    steps = Steps(COLOURED)
    assert steps.write("| a | b |\n") == ""
    assert steps.write("|---|---|\n") == "\x1b[2m… table, 0 rows\x1b[0m"
    assert steps.write("| 1 | 2 |\n") == f"{STATUS}\x1b[2m… table, 1 row\x1b[0m"
    assert steps.write("| 3") == ""
    assert steps.write(" | 4 |\n") == f"{STATUS}\x1b[2m… table, 2 rows\x1b[0m"
    drawn = steps.write("\n")
    assert drawn.startswith(STATUS + "\x1b[1ma\x1b[0m")
    assert drawn.endswith("4\n")


def test_a_narrow_terminal_has_no_status_line() -> None:
    assert STATUS not in render(cut("| a | b |\n|---|---|\n| 1 | 2 |\n", 1), 39)


def test_an_exception_leaves_a_complete_line() -> None:
    stream = FakeStream(terminal=True)
    with pytest.raises(KeyboardInterrupt), MarkdownWriter(stream, COLOURED) as writer:
        writer.write("# Title\n\nSome **bold and *ital")
        raise KeyboardInterrupt
    assert stream.written == "\x1b[2m#\x1b[0m \x1b[1mTitle\x1b[0m\n\nSome **bold and *ital\n"


def test_an_interrupted_table_is_drawn() -> None:
    output = render(["| a | b |\n|---|---|\n| 1 | 2", ""])
    assert lasting(output) == "a │ b\n──┼──\n1 │ 2\n"


def test_an_empty_answer_stays_empty() -> None:
    assert render("") == ""
    assert render("\n\n  \n") == ""


def test_it_may_go_on_after_its_end() -> None:
    steps = Steps()
    steps.write("- one")
    assert steps.end() == "- one\n"
    steps.write("two")
    assert steps.end() == "two\n"
    assert steps.end() == ""


class Failing(FakeStream):
    """A terminal whose reader is gone, or whose disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(terminal=True)
        self.error: OSError | None = error

    def flush(self) -> None:
        if self.error is not None:
            raise self.error

    def fileno(self) -> int:
        raise OSError


@pytest.mark.parametrize(
    ("error", "raised"),
    [(BrokenPipeError(errno.EPIPE, "Broken pipe"), BrokenPipeError), (OSError(errno.EIO, "I/O error"), OutputError)],
)
def test_a_lost_terminal_is_an_error(error: OSError, raised: type[Exception]) -> None:
    stream = Failing(error)
    with pytest.raises(raised), MarkdownWriter(stream, PLAIN) as writer:
        writer.write("lost words here")
    stream.error = None


def test_a_pipe_gets_text_without_escape_sequences() -> None:
    stream = FakeStream(encoding="ascii")
    with MarkdownWriter(stream, COLOURED) as writer:
        writer.think("hm")
        writer.write("**bold** é\n")
    assert stream.bytes.getvalue() == "**bold** é\n".encode()


def test_a_latin_1_terminal_gets_what_it_can_show() -> None:
    stream = FakeStream(encoding="latin-1", terminal=True)
    with MarkdownWriter(stream, {"TERM": "xterm", "COLUMNS": "60"}) as writer:
        writer.write("- é 中\n> q\n\n| a |\n|---|\n| b |\n")
    assert stream.bytes.getvalue().startswith(b"- \xe9 \\u4e2d\n\x1b[2m> \x1b[0mq\n")
