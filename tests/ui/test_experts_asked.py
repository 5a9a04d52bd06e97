import json
from pathlib import Path

import pytest

from mixchat.errors import UsageError
from mixchat.ui.experts_asked import has_form, parse_layers, written
from mixchat.ui.experts_values import ExpertsView
from tests.fakes.routing import report_of, routed

TEXT = routed(("a", " b"))
VIEW = ExpertsView("m", "a.py", report_of(TEXT), TEXT)


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        (None, None),
        (" All ", None),
        ("7", (7,)),
        ("31, 0,15,0", (0, 15, 31)),
        ("0-5", (0, 1, 2, 3, 4, 5)),
        ("0,4-7,31", (0, 4, 5, 6, 7, 31)),
        ("6 - 7,5-6, 3-3", (3, 5, 6, 7)),
    ],
)
def test_layers_and_ranges(text: str | None, layers: tuple[int, ...] | None) -> None:
    assert parse_layers(text, "--layers") == layers


@pytest.mark.parametrize(
    "text", ["", "foo", "1,", "7-4", "-4", "4-", "1-2-3", "1--2", "0-5,7-4", "²", "12345", "1 2", "all,1"]
)
def test_what_names_no_layers(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_layers(text, "--layers")
    assert raised.value.message == f"--layers: {text!r} names no layers."
    assert raised.value.hint == "Give them like 0,15,31 or 0-5, or all."


def test_a_file_could_stand_there_too() -> None:
    with pytest.raises(UsageError) as raised:
        parse_layers("foo", "/experts", or_file=True)
    assert raised.value.hint == ("Give them like 0,15,31 or 0-5, or all, or a file that ends in .html, .svg or .json.")


@pytest.mark.parametrize(("name", "start"), [("a.HTML", "<!doctype"), ("a.svg", "<svg"), ("a.json", '{"model": "m"')])
def test_the_name_says_in_which_form(name: str, start: str) -> None:
    assert has_form(Path(name))
    assert written(VIEW, Path(name)).startswith(start)
    assert written(VIEW, Path("stdout"), Path(name).suffix.lower()).startswith(start)


def test_an_unknown_form() -> None:
    assert not has_form(Path("a.txt"))
    with pytest.raises(UsageError, match=r"a\.txt has no known form\."):
        written(VIEW, Path("b/a.txt"))


def test_json_has_the_tokens_and_their_experts() -> None:
    facts = json.loads(written(VIEW, Path("a.json")))
    assert (facts["name"], facts["complete"], facts["text"]) == ("a.py", True, ["a", " b"])
    assert facts["choices"][1]["experts"] == [list(choice.experts) for choice in TEXT.layers[1].each()]
