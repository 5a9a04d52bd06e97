from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.app.events import ChatEvent, Making, Notice, Tracing
from mixchat.engine.events import Loading, Prefilling, Token
from mixchat.errors import EngineDied
from mixchat.ui import progress
from mixchat.ui.progress import Progress, bar_line, shown
from mixchat.ui.sanitize import columns, single_line
from tests.fakes.plans import opened
from tests.fakes.streams import FakeStream
from tests.fakes.talk import CRASHED

ERASE = "\r\x1b[2K"
PLAIN = {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "40"}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def drawn(
    script: list[tuple[float, ChatEvent]], environ: dict[str, str] = PLAIN, encoding: str = "utf-8", name: str = "demo"
) -> list[str]:
    """What is written after each event that came at a time in seconds, and at the end."""
    clock, stream = Clock(), FakeStream(encoding=encoding, terminal=True)
    bar = Progress(stream, environ, clock=clock)
    pieces, before = [], 0
    for at, event in script:
        clock.now = 100.0 + at
        bar.show(event, name)
        pieces.append(stream.written[before:])
        before = len(stream.written)
    bar.end()
    return [*pieces, stream.written[before:]]


def test_loading_draws_over_itself_and_leaves_nothing() -> None:
    assert drawn(
        [(0.0, Loading(0.0)), (0.4, Loading(0.5)), (0.42, Loading(0.6)), (0.9, Loading(1)), (1, opened())]
    ) == [
        "",
        ERASE + "Loading demo ━━━━━━━━━━──────────  50 %",
        "",
        ERASE + "Loading demo ━━━━━━━━━━━━━━━━━━━━ 100 %",
        ERASE,
        "",
    ]


def test_a_fast_load_does_not_flash() -> None:
    assert drawn([(0.0, Loading(0.0)), (0.1, Loading(0.5)), (0.29, Loading(1.0)), (0.29, opened())]) == [""] * 5


def test_the_end_erases() -> None:
    assert drawn([(0.5, Making(0.25))])[-1] == ERASE


def test_making_the_demo_then_loading_it() -> None:
    pieces = drawn([(0.35, Making(0.25)), (0.6, Loading(0.0)), (0.8, Loading(0.1)), (0.95, Loading(0.2))])
    assert pieces == [
        ERASE + "Making the demo model ━━━────────  25 %",
        ERASE,
        "",
        ERASE + "Loading demo ━━━━────────────────  20 %",
        ERASE,
    ]


def test_prefill_tells_tokens_and_speed() -> None:
    script: list[tuple[float, ChatEvent]] = [
        (0.0, Prefilling(29, 4000, 29)),
        (0.4, Prefilling(100, 4000, 29)),
        (2.0, Prefilling(1029, 4000, 29)),
        (2.1, Token("x", 1)),
    ]
    at_once = [ERASE + "Prefill ──────────────── 29/4000 tokens", ERASE + "Prefill ────── 100/4000 tokens, 177 t/s"]
    assert drawn(script) == [*at_once, ERASE + "Prefill ━──── 1029/4000 tokens, 500 t/s", ERASE, ""]
    short: list[tuple[float, ChatEvent]] = [(0.0, Prefilling(0, 400)), (0.4, Prefilling(100, 400))]
    assert drawn(short) == ["", "", ""]
    wide = drawn(script, PLAIN | {"COLUMNS": "80"})[2]
    assert wide == ERASE + "Prefill ━━━━━━━━━" + "─" * 26 + " 1029/4000 tokens, 500 t/s, 6 s left"
    (hours,) = drawn([(0.0, Prefilling(0, 4000)), (9.0, Prefilling(90, 4000))], PLAIN | {"COLUMNS": "80"})[1:2]
    assert hours.endswith(" 90/4000 tokens, 10.0 t/s, 6 min 31 s left")


def test_tracing_tells_tokens_and_the_speed_since_the_last_notice() -> None:
    script: list[tuple[float, ChatEvent]] = [
        (0.0, Tracing("src/*.py", 0.0, 0)),
        (1.0, Tracing("src/*.py", 0.1, 512)),
        (2.0, Notice("b.bin is left out.")),
        (3.0, Tracing("src/*.py", 0.4, 512)),
        (6.0, Tracing("src/*.py", 0.5, 1024)),
    ]
    pieces = drawn(script, PLAIN | {"COLUMNS": "60"})
    assert pieces[1] == ERASE + "Tracing src/*.py ━━──────────────────── 512 tokens, 512 t/s"
    assert pieces[2] == ERASE + "b.bin is left out.\n"
    assert pieces[4].endswith(" 1024 tokens, 128 t/s")
    assert drawn(script)[1] == ERASE + "Tracing src/*.py 512 tokens, 512 t/s"


def test_colour_and_encoding() -> None:
    script: list[tuple[float, ChatEvent]] = [(0.5, Loading(0.5))]
    coloured = drawn(script, {"TERM": "xterm", "COLUMNS": "40"})[0]
    assert coloured == ERASE + "Loading demo \x1b[36m━━━━━━━━━━\x1b[0m──────────  50 %"
    assert drawn(script, encoding="latin-1")[0] == ERASE + "Loading demo ##########----------  50 %"
    empty = drawn([(0.5, Loading(0.0))], {"TERM": "xterm", "COLUMNS": "40"})[0]
    assert empty == ERASE + "Loading demo ────────────────────   0 %"


def test_a_hostile_name_is_cleaned() -> None:
    assert drawn([(0.5, Loading(0.5))], name="\x1b[2J\n")[0] == ERASE + "Loading ␛[2J␊ ━━━━━━━━━━─────────  50 %"


def test_notices_are_lines() -> None:
    assert drawn([(0.5, Loading(0.5)), (0.6, Notice("Slow\x1b build."))])[1] == ERASE + "Slow␛ build.\n"


@given(st.text(max_size=60), st.floats(0, 1), st.integers(1, 500))
def test_a_bar_never_reaches_the_last_column(label: str, fraction: float, width: int) -> None:
    assert columns(bar_line(single_line(label), fraction, " 50 %", width)) < width


@pytest.mark.parametrize(
    ("terminal", "term", "quiet", "expected"),
    [
        (False, "xterm", False, "Careful.\n"),
        (False, "xterm", True, ""),
        (True, "dumb", False, "Careful.\n"),
        (True, "xterm", True, ""),
    ],
)
def test_without_a_terminal_there_is_no_bar(
    terminal: bool, term: str, quiet: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    stream = FakeStream(terminal=terminal)
    events: list[ChatEvent] = [Loading(0.5), Notice("Careful."), Token("x", 1)]
    assert list(shown(iter(events), "demo", stream, {"TERM": term}, quiet)) == events
    assert stream.written == expected


def failing() -> Iterator[ChatEvent]:
    yield Loading(0.5)
    raise CRASHED


def test_the_bar_is_erased_on_errors_and_when_nobody_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    stream = FakeStream(terminal=True)
    with pytest.raises(EngineDied):
        list(shown(failing(), "demo", stream, PLAIN))
    assert stream.written.endswith("50 %" + ERASE)
    stream = FakeStream(terminal=True)
    events = shown(failing(), "demo", stream, PLAIN)
    next(events)
    assert stream.written.endswith("50 %")
    del events
    assert stream.written.endswith("50 %" + ERASE)


def test_a_gone_stderr_costs_the_bar_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    stream = FakeStream(terminal=True)

    def fail(_text: str) -> int:
        raise OSError

    monkeypatch.setattr(stream, "write", fail)
    assert list(shown(iter([Loading(0.5)]), "demo", stream, PLAIN)) == [Loading(0.5)]
