from mixchat.models.events import Downloading, Verifying, Waiting
from mixchat.ui.transfer import Transfer, format_left
from tests.fakes.streams import FakeStream

GIB = 1 << 30
ERASE = "\r\x1b[2K"
Event = Downloading | Verifying | Waiting


def shown(script: list[tuple[float, Event]], *, terminal: bool, quiet: bool = False, **environ: str) -> list[str]:
    """What is written after each event that came at a time in seconds, and at the end."""
    now, stream, pieces, before = 0.0, FakeStream(terminal=terminal), [], 0
    bar = Transfer(stream, {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100"} | environ, quiet, lambda: now)
    for now, event in script:  # noqa: B007 - the clock reads it
        bar.show(event, "mixtral:Q4_K_M")
        pieces.append(stream.written[before:])
        before = len(stream.written)
    bar.end()
    return [*pieces, stream.written[before:]]


def test_a_bar_with_speed_and_time_left() -> None:
    pieces = shown(
        [(0, Downloading(0, 4 * GIB)), (0.05, Downloading(1, 4 * GIB)), (10, Downloading(GIB, 4 * GIB))], terminal=True
    )
    assert pieces[0].startswith(f"{ERASE}Downloading mixtral:Q4_K_M ")
    assert pieces[0].endswith("  0 % 0 B of 4.0 GiB")
    assert pieces[1] == ""
    assert pieces[2].endswith(" 25 % 1.0 GiB of 4.0 GiB, 102.4 MiB/s, 30 s left")
    assert all(len(piece) - len(ERASE) < 100 for piece in pieces)
    assert pieces[3] == ERASE


def test_a_line_every_few_seconds_elsewhere() -> None:
    script: list[tuple[float, Event]] = [
        (at, Downloading(int(at * GIB / 10), 4 * GIB)) for at in (0, 1, 4, 5, 9, 10, 40)
    ]
    assert shown(script, terminal=False) == [
        "Downloading mixtral:Q4_K_M: 0 %, 0 B of 4.0 GiB\n",
        "",
        "",
        "Downloading mixtral:Q4_K_M: 12 %, 512.0 MiB of 4.0 GiB, 102.4 MiB/s, 35 s left\n",
        "",
        "Downloading mixtral:Q4_K_M: 25 %, 1.0 GiB of 4.0 GiB, 102.4 MiB/s, 30 s left\n",
        "Downloading mixtral:Q4_K_M: 100 %, 4.0 GiB of 4.0 GiB\n",
        "",
    ]


def test_a_dumb_terminal_gets_lines() -> None:
    assert shown([(0, Downloading(0, GIB))], terminal=True, TERM="dumb")[0].endswith("0 B of 1.0 GiB\n")


def test_checking_is_another_phase() -> None:
    pieces = shown([(0, Verifying(GIB, 2 * GIB)), (0.1, Downloading(GIB, 2 * GIB))], terminal=False)
    assert pieces[:2] == [
        "Checking mixtral:Q4_K_M: 50 %, 1.0 GiB of 2.0 GiB\n",
        "Downloading mixtral:Q4_K_M: 50 %, 1.0 GiB of 2.0 GiB\n",
    ]


def test_waiting_is_told_once_and_what_comes_from_elsewhere_is_cleaned() -> None:
    other = Waiting(1.0, "Another process is fetching this model.")
    script: list[tuple[float, Event]] = [
        (0, other),
        (1, other),
        (2, Waiting(4.0, "The \x1b[31mline broke.")),
        (3, other),
    ]
    assert shown(script, terminal=False) == [
        "Another process is fetching this model.\n",
        "",
        "The ␛[31mline broke. Trying again in 4 s.\n",
        "Another process is fetching this model.\n",
        "",
    ]


def test_waiting_erases_the_bar() -> None:
    pieces = shown([(0, Downloading(1, GIB)), (1, Waiting(2.0, "The line broke."))], terminal=True)
    assert pieces[1] == f"{ERASE}The line broke. Trying again in 2 s.\n"
    assert pieces[2] == ""


def test_after_a_restart_the_speed_is_not_negative() -> None:
    pieces = shown(
        [(0, Downloading(GIB, 2 * GIB)), (6, Downloading(0, 2 * GIB)), (12, Downloading(GIB // 2, 2 * GIB))],
        terminal=False,
    )
    assert pieces[1] == "Downloading mixtral:Q4_K_M: 0 %, 0 B of 2.0 GiB\n"
    assert "85.3 MiB/s" in pieces[2]


def test_nothing_moves_nothing_is_promised() -> None:
    pieces = shown([(0, Downloading(0, GIB)), (6, Downloading(0, GIB))], terminal=False)
    assert pieces[1] == "Downloading mixtral:Q4_K_M: 0 %, 0 B of 1.0 GiB, 0 B/s\n"


def test_quiet_shows_nothing() -> None:
    assert shown([(0, Downloading(0, GIB)), (1, Waiting(9, "x"))], terminal=False, quiet=True) == ["", "", ""]


def test_times() -> None:
    assert [format_left(seconds) for seconds in (0.2, 59, 61, 3540, 3600, 7500)] == [
        "1 s", "59 s", "1 min", "59 min", "1 h 0 min", "2 h 5 min"
    ]  # fmt: skip
