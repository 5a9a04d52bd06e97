import os
import threading
from collections.abc import Iterator

import pytest

from mixchat.cli.lines import LONGEST, Lines
from mixchat.errors import UsageError


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def never() -> None:
    raise AssertionError("nobody waited")


def all_of(lines: Lines) -> list[bytes]:
    found = []
    while (line := lines.take(wait=True)) is not None:
        found.append(line)
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\n\nb", [b"a", b"", b"b"]),
        (b"a\r\nb", [b"a\r", b"b"]),
    ],
)
def test_lines_lose_their_ends_and_the_last_needs_none(
    data: bytes, expected: list[bytes], pipe: tuple[int, int]
) -> None:
    os.write(pipe[1], data)
    os.close(pipe[1])
    lines = Lines(pipe[0], never)
    assert all_of(lines) == expected
    assert lines.take(wait=True) is None


def test_half_a_line_is_not_waited_for_unless_asked(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"one\ntw")
    lines = Lines(pipe[0], never)
    assert lines.take(wait=False) == b"one"
    assert lines.take(wait=False) is None
    os.write(pipe[1], b"o\n")
    assert lines.take(wait=False) == b"two"
    assert lines.take(wait=False) is None
    os.close(pipe[1])
    assert lines.take(wait=False) is None


def test_a_silent_pipe_is_told_once(pipe: tuple[int, int]) -> None:
    told: list[str] = []

    def tell() -> None:
        told.append("waiting")
        threading.Timer(0.1, lambda: os.write(pipe[1], b"late\n")).start()

    lines = Lines(pipe[0], tell)
    assert lines.take(wait=True) == b"late"
    assert told == ["waiting"]


def test_of_an_endless_line_only_a_part_is_kept(pipe: tuple[int, int]) -> None:
    def feed() -> None:
        for _ in range(2 * LONGEST // 65536):
            os.write(pipe[1], b"x" * 65536)
        os.write(pipe[1], b"\nnext\n")
        os.close(pipe[1])

    thread = threading.Thread(target=feed)
    thread.start()
    long, after = all_of(Lines(pipe[0], never))
    thread.join()
    assert LONGEST < len(long) <= LONGEST + 65536
    assert after == b"next"


def test_a_line_without_an_end_is_given_up() -> None:
    with open("/dev/zero", "rb") as zeros, pytest.raises(UsageError, match="64 MiB"):  # noqa: PTH123
        Lines(zeros.fileno(), never).take(wait=True)


def test_wide_text_has_other_line_ends(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], "a\nb\n".encode("utf-16"))
    with pytest.raises(UsageError, match="UTF-16"):
        Lines(pipe[0], never).take(wait=True)
