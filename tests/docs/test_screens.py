import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.ui.chat.commands import COMMANDS, SHOWN

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


picture = load("terminal_svg")
screens = load("screens")


def drawn(content: str) -> Any:  # noqa: ANN401 - finding an element may fail, and then the test does
    """The picture of a small terminal that got this."""
    screen = picture.Screen(20, 3)
    pyte.Stream(screen).feed(content)
    screen.cursor.hidden = True
    return ET.fromstring(picture.svg(screen, "a <title>"))  # noqa: S314 - our own


def texts(content: str) -> list[tuple[str, float, float]]:
    """The texts of the grid with their column and row."""
    return [
        (each.text or "", float(each.get("x")) / picture.CELL_WIDTH, (float(each.get("y")) - picture.FONT_SIZE) / 18)
        for each in drawn(content).findall(f"{SVG}g/{SVG}text")
    ]


def test_a_text_is_where_it_was() -> None:
    assert texts("one\r\n   two  2") == [("one", 0, 0), ("two  2", 3, 1)]


def test_markup_and_what_xml_does_not_allow_are_escaped() -> None:
    assert texts("a<b>&amp;'\"")[0][0] == "a<b>&amp;'\""
    assert drawn("").find(f"{SVG}title").text == "a <title>"
    assert picture._escaped("a\x1b\0\ufffe") == "a\ufffd\ufffd\ufffd"


def test_wide_characters_stand_alone_in_two_cells() -> None:
    assert [(text, round(column)) for text, column, _row in texts("a模型b")] == [
        ("a", 0),
        ("模", 1),
        ("型", 3),
        ("b", 5),
    ]
    wide = drawn("模").find(f"{SVG}g/{SVG}text")
    assert float(wide.get("textLength")) == pytest.approx(2 * picture.CELL_WIDTH)


def test_a_combining_character_stays_with_its_cell() -> None:
    assert texts("e\u0301x") == [("\u00e9x", 0, 0)]


def look(content: str) -> dict[str, str]:
    found = drawn(content).find(f"{SVG}g/{SVG}text")
    return {name: found.get(name) for name in ("fill", "font-weight", "font-style") if found.get(name)}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("x", {"fill": "#d8dbe2"}),
        ("\x1b[1;31mx", {"fill": "#ef6b73", "font-weight": "bold"}),
        ("\x1b[3;95mx", {"fill": "#dcaaf0", "font-style": "italic"}),
        ("\x1b[38;5;208mx", {"fill": "#ff8700"}),
        ("\x1b[38;2;1;2;3mx", {"fill": "#010203"}),
        ("\x1b[7mx", {"fill": "#16181d"}),
        ("\x1b[2mx", {"fill": "#8a8d93"}),
        ("\x1b[2;38;5;2mx", {"fill": "#5c7f4e"}),
        ("\x1b[2m\x1b[22mx", {"fill": "#d8dbe2"}),
        ("\x1b[1;2m\x1b[0mx", {"fill": "#d8dbe2"}),
        ("\x1b[38;5;9mx", {"fill": "#ff8a90"}),
        ("\x1b[?1;31mx", {"fill": "#d8dbe2"}),
    ],
)
def test_styles(content: str, expected: dict[str, str]) -> None:
    assert look(content) == expected


def test_a_coloured_ground_is_drawn_below_blanks_too() -> None:
    grounds = drawn("a\x1b[44m  \x1b[0m\x1b[7mb\x1b[0m\x1b[105mc").findall(f"{SVG}g/{SVG}rect")
    assert [(each.get("fill"), round(float(each.get("x")) / picture.CELL_WIDTH)) for each in grounds] == [
        ("#6ca8f0", 1),
        ("#d8dbe2", 3),
        ("#dcaaf0", 4),
    ]
    assert float(grounds[0].get("width")) == pytest.approx(2 * picture.CELL_WIDTH)


def test_an_underline_goes_on_below_blanks() -> None:
    assert texts("\x1b[4m a  \x1b[0mb") == [(" a  ", 0, 0), ("b", 4, 0)]


@pytest.mark.parametrize(("content", "rows"), [("", 1), ("a\r\nb", 2), ("a\r\n\x1b[44m \x1b[0m\r\n", 2), ("\n\n", 1)])
def test_empty_rows_at_the_end_are_left_out(content: str, rows: int) -> None:
    assert int(drawn(content).get("height")) == rows * 18 + picture.BAR + picture.MARGIN


def test_the_cursor_is_drawn_where_it_shows() -> None:
    screen = picture.Screen(20, 3)
    pyte.Stream(screen).feed("ab")
    assert f'x="{2 * picture.CELL_WIDTH:g}" y="0"' in picture.svg(screen, "")
    pyte.Stream(screen).feed("\x1b[?25l")
    assert "opacity" not in picture.svg(screen, "")
    pyte.Stream(screen).feed("\x1b[?25h\r\n\n")
    assert f'height="{3 * 18 + picture.BAR + picture.MARGIN}"' in picture.svg(screen, "")


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_whatever_is_on_the_screen_is_well_formed_and_inside(content: str) -> None:
    root = drawn(content)
    width = 20 * picture.CELL_WIDTH + 0.1
    for each in root.findall(f"{SVG}g/{SVG}text"):
        assert float(each.get("x")) + float(each.get("textLength")) <= width + picture.CELL_WIDTH


def test_the_terminal_answers_where_the_cursor_is() -> None:
    screen = picture.Screen(20, 3)
    pyte.Stream(screen).feed("ab\x1b[6n")
    assert screen.answers == ["\x1b[1;3R"]


def test_a_scene_is_played(tmp_path: Path) -> None:
    scene = screens.Scene("version", ("--version",), (screens.Step(until=r"mixchat \d"),), columns=40, rows=5)
    screen = screens.play(scene, screens.environment(tmp_path), tmp_path)
    assert re.match(r"mixchat \d", screen.display[0])
    assert screen.cursor.hidden


def test_a_scene_that_shows_something_else_ends_with_the_screen(tmp_path: Path) -> None:
    scene = screens.Scene("version", ("--version",), (screens.Step(until="never"),))
    with pytest.raises(SystemExit, match=r"'never' does not show up:\nmixchat"):
        screens.play(scene, screens.environment(tmp_path), tmp_path)


def test_every_scene_uses_commands_that_exist() -> None:
    keys = [step.keys for scene in screens.SCENES for step in scene.steps if step.keys.startswith("/")]
    assert keys
    for command, *words in (line.strip("/\r").split() for line in keys):
        assert command in COMMANDS
        assert command != "show" or set(words) <= set(SHOWN)
    assert len({scene.name for scene in screens.SCENES}) == len(screens.SCENES)
