import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.stops import StopScanner
from mixchat.errors import UsageError

ALPHABET = "abc"
STOPS = st.lists(st.text(alphabet=ALPHABET, min_size=1, max_size=4), min_size=1, max_size=4).map(tuple)
CHUNKS = st.lists(st.text(alphabet=ALPHABET, max_size=4))


def whole(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The oracle: cut before the longest of the stops whose end comes first."""
    for end in range(1, len(text) + 1):
        ending = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(ending)], True
    return text, False


def scan(chunks: list[str], stops: tuple[str, ...]) -> tuple[str, bool]:
    scanner = StopScanner(stops)
    out, stopped = "", False
    for chunk in chunks:
        emitted, stopped = scanner.feed(chunk)
        out += emitted
    return out + scanner.finish(), stopped


@given(CHUNKS, STOPS)
def test_any_chunks_give_what_the_whole_text_gives(chunks: list[str], stops: tuple[str, ...]) -> None:
    assert scan(chunks, stops) == whole("".join(chunks), stops)


@given(CHUNKS, STOPS)
def test_only_what_may_become_a_stop_is_held_back(chunks: list[str], stops: tuple[str, ...]) -> None:
    scanner = StopScanner(stops)
    fed = out = ""
    for chunk in chunks:
        emitted, stopped = scanner.feed(chunk)
        fed += chunk
        out += emitted
        if stopped:
            break
        held = fed[len(out) :]
        assert fed.startswith(out)
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


@pytest.mark.parametrize(
    ("stops", "chunks", "emitted"),
    [
        (("END",), ["a E", "N", "x"], ["a ", "", "ENx"]),
        (("END",), ["aEEN", "D"], ["aE", ""]),
        (("abcd", "bc"), ["abcd"], ["a"]),
        (("bc", "abc"), ["abc"], [""]),
        (("\n\n",), ["x\n", "\ny"], ["x", ""]),
        (("🙂!",), ["🙂", "?"], ["", "🙂?"]),
    ],
)
def test_what_each_chunk_gives(stops: tuple[str, ...], chunks: list[str], emitted: list[str]) -> None:
    scanner = StopScanner(stops)
    assert [scanner.feed(chunk)[0] for chunk in chunks] == emitted


def test_after_a_stop_nothing_comes() -> None:
    scanner = StopScanner(("x",))
    assert scanner.feed("axb") == ("a", True)
    assert scanner.feed("c") == ("", True)
    assert scanner.finish() == ""


def test_what_was_held_back_comes_at_the_end_once() -> None:
    scanner = StopScanner(("xyz",))
    assert scanner.feed("axy") == ("a", False)
    assert (scanner.finish(), scanner.finish()) == ("xy", "")


def test_without_stops_chunks_pass_untouched() -> None:
    scanner = StopScanner(())
    chunk = "any text"
    assert scanner.feed(chunk)[0] is chunk
    assert scanner.feed(chunk)[1] is False
    assert scanner.finish() == ""


def test_an_empty_stop_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        StopScanner(("x", ""))
