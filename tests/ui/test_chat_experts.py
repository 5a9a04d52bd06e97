import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from mixchat.app.conversing import Conversation
from mixchat.app.shelf import Shelf
from mixchat.ui.chat.context import Chat
from mixchat.ui.chat.repl import run_chat
from mixchat.ui.chat.screen import Screen
from mixchat.ui.console import Terminal
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import FakeEngine
from tests.fakes.streams import FakeStream
from tests.ui.test_chat_commands import ENVIRON, Person

Hold = Callable[..., str]


@pytest.fixture
def hold(make_house: MakeHouse, settings: MakeSettings, two_layers: Path, tmp_path: Path) -> Hold:
    """Hold a chat with these lines; gives what stood beside the answers."""

    def begin(engine: FakeEngine, *lines: str, environ: dict[str, str] = ENVIRON) -> str:
        house = make_house(engine)
        shelf = Shelf(house, saving=False)
        talk = Conversation(house, settings(output="raw"), str(two_layers), shelf.new())
        streams = [FakeStream(terminal=True) for _ in range(3)]
        screen = Screen(Terminal(streams[0], streams[1], streams[2], environ))
        try:
            assert run_chat(Chat(talk, screen, Person(*lines), shelf, tmp_path)) == 0
        finally:
            talk.close()
        return streams[2].written

    return begin


def after(text: str) -> str:
    """What came behind the loading of the model."""
    return text.partition("Ctrl-D leaves.\n")[2]


def test_the_last_turn_is_shown(hold: Hold) -> None:
    engine = FakeEngine("A", "Two words")
    shown = after(hold(engine, "one", "twö", "/experts"))
    assert "the last turn: " in shown
    assert "First expert of each token in layer 0" in shown
    assert "First expert of each token in layer 1" in shown
    assert "twö<|im_end|>" in shown
    assert "Two words" in shown
    assert "one" not in shown.partition("\n")[2].partition("Share of all")[0]
    assert len(engine.traces) == 1


@pytest.mark.parametrize(("argument", "layers"), [("1", [1]), ("0,1", [0, 1]), ("0-1", [0, 1]), ("all", [0, 1])])
def test_layers_are_chosen(argument: str, layers: list[int], hold: Hold) -> None:
    shown = after(hold(FakeEngine("A"), "one", f"/experts {argument}"))
    found = [at for at in range(3) if f"First expert of each token in layer {at}" in shown]
    assert found == layers


@pytest.mark.parametrize(
    ("lines", "words", "traces"),
    [
        (["/experts"], "There is no turn to trace yet.", 0),
        (["one", "/experts two"], "/experts: 'two' names no layers.", 0),
        (["one", "/experts two"], "Give them like 0,15,31 or 0-5, or all, or a file that ends", 0),
        (["one", "/experts turn.txt"], ".html, .svg or .json.", 0),
        (["one", "/experts 1-0"], "/experts: '1-0' names no layers.", 0),
        (["one", "/experts 7"], "has no router in layer 7.", 0),
        (["one", "/experts none/a.html"], "There is no folder", 0),
    ],
)
def test_mistakes_are_told_and_the_chat_goes_on(lines: list[str], words: str, traces: int, hold: Hold) -> None:
    engine = FakeEngine("A", "B")
    shown = hold(engine, *lines, "and on", "/show")
    assert words in shown
    assert "and on" in engine.prompt(-1)
    assert len(engine.traces) == traces


@pytest.mark.parametrize("name", ["turn.html", "turn.SVG", "turn.json"])
def test_a_file_is_written_once(name: str, hold: Hold, tmp_path: Path) -> None:
    engine = FakeEngine("A")
    shown = hold(engine, "one", f"/experts {name}", f"/experts {name}")
    assert f"Written to {tmp_path / name}." in shown
    assert f"{name} is there already." in shown
    assert len(engine.traces) == 1
    assert "the last turn" in (tmp_path / name).read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_ends_no_chat(hold: Hold, tmp_path: Path) -> None:
    engine = FakeEngine("A", "B")
    engine.on_step = lambda name: (tmp_path / "a.svg").mkdir(exist_ok=True) if name == "trace" else None
    shown = hold(engine, "one", "/experts a.svg", "two")
    assert "could not be written" in shown
    assert "two" in engine.prompt(-1)


def test_ctrl_c_shows_what_was_traced(hold: Hold) -> None:
    engine = FakeEngine("A", "B")
    seen: list[str] = []

    def step(name: str) -> None:
        seen.append(name)
        if name == "trace" and seen.count(name) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    engine.on_step = step
    shown = after(hold(engine, "one " * 9, "/experts", "two"))
    assert "the last turn: " in shown
    assert "experts each, interrupted\n" in shown
    assert shown.count("[interrupted]") == 1
    assert "two" in engine.prompt(-1)


def test_ctrl_c_before_anything_was_traced(hold: Hold) -> None:
    engine = FakeEngine("A", "B")
    engine.on_step = lambda name: os.kill(os.getpid(), signal.SIGINT) if name == "trace" else None
    shown = after(hold(engine, "one", "/experts", "/show"))
    assert "the last turn" not in shown
    assert "[interrupted]" in shown


def test_the_chat_goes_on_from_what_is_evaluated(hold: Hold) -> None:
    engines = FakeEngine("A", "B"), FakeEngine("A", "B")
    hold(engines[0], "one", "two")
    hold(engines[1], "one", "/experts", "two")
    assert engines[0].generations == engines[1].generations
    assert engines[0]._held == engines[1]._held
    assert not engines[1].evaluations
    assert len(engines[1].loads) == len(engines[0].loads)


def test_a_dead_engine_loads_again_with_the_next_message(hold: Hold) -> None:
    engine = FakeEngine("A", "B")
    engine.dies_at = "trace"
    shown = hold(engine, "one", "/experts", "two")
    assert "The engine was killed by SIGSEGV at trace." in shown
    assert "two" in engine.prompt(-1)
    assert len(engine.loads) == 2


def test_a_dumb_terminal_gets_no_colour(hold: Hold) -> None:
    shown = after(hold(FakeEngine("A"), "one", "/experts", environ={"TERM": "dumb", "COLUMNS": "60"}))
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 60
