from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from mixchat.routing.routed_text import RoutedText
from mixchat.routing.tally import Report
from mixchat.ui.experts_svg import experts_svg
from mixchat.ui.experts_values import ExpertsView
from tests.fakes.routing import HOSTILE, report_of, routed, split

SVG = "{http://www.w3.org/2000/svg}"
CODE = "def f(x):\n    return 42  # it is\n"


def view_of(text: RoutedText) -> ExpertsView:
    return ExpertsView("mixtral", "a.py", report_of(text), text)


def parsed(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314 - our own


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in parsed(picture).iter(f"{SVG}text")]


def test_the_text_lies_on_the_colours_of_its_experts() -> None:
    text = routed(("ab", " cd", "e"), layers=1)
    root = parsed(experts_svg(view_of(text)))
    runs = [each for each in root.iter(f"{SVG}text") if (each.get("class") or "").startswith("f ")]
    assert [(run.text, run.get("x"), run.get("textLength")) for run in runs] == [
        ("ab", "24", "16"),
        ("cd", "48", "16"),
        ("e", "64", "8"),
    ]
    assert [run.get("class") for run in runs] == [f"f k{expert}" for expert in text.firsts(0)]
    letters = [each for each in root.iter(f"{SVG}text") if each.get("class") == "l"]
    assert [(each.get("x"), each.text) for each in letters] == [
        ("25 49 65", "".join("ABCDEFGH"[expert] for expert in text.firsts(0)))
    ]


def test_neighbours_of_one_expert_share_their_ground() -> None:
    text = routed(("ab", " cd", "  ", "e"), 1, 1, layers=1)
    root = parsed(experts_svg(view_of(text)))
    grounds = [each for each in root.iter(f"{SVG}rect") if each.get("class") == "c0"]
    assert [each.get("width") for each in grounds] == ["16", "64"], "the legend's and the line's"


@pytest.mark.parametrize(("n_experts", "used"), [(1, 1), (8, 2), (8, 1), (16, 4), (26, 2), (64, 6), (128, 8)])
@pytest.mark.parametrize("layers", [1, 32, 200])
def test_any_number_of_experts_and_layers_stays_inside(n_experts: int, used: int, layers: int) -> None:
    text = routed(split(CODE), n_experts, used, layers)
    root = parsed(experts_svg(view_of(text)))
    width, height = float(root.get("width") or 0), float(root.get("height") or 0)
    for group in root.iter(f"{SVG}g"):
        top = float((group.get("transform") or "").removesuffix(")").split()[1])
        for rect in group.iter(f"{SVG}rect"):
            assert 0 <= float(rect.get("x") or 0) <= width - float(rect.get("width") or 0)
            assert float(rect.get("width") or 0) > 0
            assert 0 <= top + float(rect.get("y") or 0) <= height - float(rect.get("height") or 0)
    shades = [each for each in root.iter(f"{SVG}rect") if each.get("class") == "q"]
    assert len(shades) == n_experts * layers


def test_lines_are_shared_among_the_layers() -> None:
    text = routed(split(CODE * 50), layers=3)
    whole = texts(experts_svg(view_of(text)))
    assert sum(each == "def" for each in whole) == 3 * 7
    assert sum(each == "def" for each in texts(experts_svg(view_of(text), lines=1))) == 3 * 2


def test_what_is_left_out_is_said_below_each_layer() -> None:
    view = view_of(routed(split(CODE * 50), layers=3))
    assert texts(experts_svg(view)).count("... and 87 more lines") == 3
    assert not any("more line" in each for each in texts(experts_svg(view, lines=300)))


def test_all_layers_have_lines_of_their_own() -> None:
    view = replace(view_of(routed(split(CODE * 50), layers=32)), all_layers=True)
    found = texts(experts_svg(view))
    assert [each for each in found if each.startswith("First expert")] == [
        f"First expert of each token in layer {layer}" for layer in range(32)
    ]
    assert found.count("... and 96 more lines") == 32


def test_a_text_that_is_only_a_beginning_says_so() -> None:
    long, short = (routed(split(CODE * times), layers=1) for times in (3, 1))
    view = ExpertsView("m", "", report_of(long), short)
    assert any(each.endswith(f"that of the first {len(short.tokens)} tokens.") for each in texts(experts_svg(view)))


def test_a_long_name_does_not_hide_that_it_was_interrupted() -> None:
    view = replace(view_of(routed(("a", "b"))), name="n" * 300, complete=False)
    assert texts(experts_svg(view))[1] == f"{'n' * 49}…: 2 tokens in 4 layers, 2 of 8 experts each, interrupted"


def test_foreign_text_stays_text() -> None:
    view = view_of(routed((*HOSTILE, "y" * 500), layers=1))
    picture = experts_svg(replace(view, model="</title>\x00", name="]]>&\ud800\x1b"))
    picture.encode()
    found = texts(picture)
    assert "</script><script>alert(1)</script>" in found
    assert "]]>" in found
    assert "\ufffd\ufffd" in found
    assert any(each.startswith("]]>&<U+D800>␛: ") for each in found)
    assert [each.text for each in parsed(picture).iter(f"{SVG}title")] == ["Experts of </title>␀"]


def test_without_a_text_and_without_layers() -> None:
    report = report_of(routed(("a", "b"), layers=2))
    found = texts(experts_svg(ExpertsView("m", "", report)))
    assert not any("First expert" in each for each in found)
    assert any(each.startswith("2 tokens are too few to tell") for each in found)
    nothing = texts(experts_svg(ExpertsView("m", "", Report(8, ()))))
    assert nothing[-1] == "Nothing was routed: there was no token, or no layer has a router."
