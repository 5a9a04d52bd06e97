import json
import random
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mixchat.routing.comparing import compare
from mixchat.routing.routed_text import RoutedText
from mixchat.routing.tally import Report
from mixchat.ui.experts_html import experts_html
from mixchat.ui.experts_letters import lettering
from mixchat.ui.experts_lines import visible_token
from mixchat.ui.experts_values import ExpertsView, Versus
from tests.fakes.routing import HOSTILE, report_of, routed, split

VOID = {"meta", "input"}


class Page(HTMLParser):
    """Elements with their attributes, the text of each, and whether every one was closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[int] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.texts.append("")
        if tag not in VOID:
            self.open.append(len(self.found) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.found[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] += data

    def all(self, tag: str) -> list[str]:
        return [text for (name, _attrs), text in zip(self.found, self.texts, strict=True) if name == tag]


def view_of(text: RoutedText, **changes: object) -> ExpertsView:
    return replace(ExpertsView("mixtral", "", report_of(text), text), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_experts", "used"), [(1, 1), (8, 2), (8, 1), (16, 4), (64, 6), (128, 8)])
def test_the_data_say_what_the_routers_chose(n_experts: int, used: int) -> None:
    text = routed(split("def f(x):\n    return 42\n"), n_experts, used, layers=5)
    page = Page(experts_html(view_of(text)))
    assert not page.open
    data = json.loads(next(text for text in page.all("script") if text.startswith("{")))
    assert len(set(data["codes"])) == n_experts
    for layer in data["layers"]:
        firsts = tuple(data["codes"].index(code) for code in layer["firsts"])
        assert firsts == text.firsts(layer["layer"])
        looks = lettering(n_experts, firsts)
        assert [entry[0] for entry in layer["legend"]] == list(looks.legend())
        assert all(looks.letters[expert] == letter for expert, letter, _colour, _share in layer["legend"])
    shares = Counter(text.firsts(0)).most_common(1)[0][1] / len(text.tokens)
    assert f"{100 * shares:.0f} %" in {entry[3] for entry in data["layers"][0]["legend"]}


def test_without_scripts_the_first_chosen_layer_is_coloured() -> None:
    text = routed(split("a, b; c\n"), layers=3)
    page = Page(experts_html(view_of(text, layers=(2,))))
    kinds = [attrs.get("class") for tag, attrs in page.found if tag == "i"]
    assert kinds == [f"c{expert}" for expert in text.firsts(2)]
    slider = next(attrs for tag, attrs in page.found if attrs.get("id") == "layer")
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "2", "2")
    assert page.all("output") == ["2"]
    assert page.all("button") == ["layer 2"]


def test_the_slider_has_all_layers_and_few_of_them_a_button() -> None:
    text = routed(split("a, b; c\n"), layers=32)
    page = Page(experts_html(view_of(text, all_layers=True)))
    assert page.all("button") == ["layer 0", "layer 15", "layer 31"]
    slider = next(attrs for tag, attrs in page.found if attrs.get("id") == "layer")
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "31", "0")
    some = Page(experts_html(view_of(text, layers=(4, 5, 6, 7))))
    assert some.all("button") == ["layer 4", "layer 5", "layer 6", "layer 7"]


def test_an_interrupted_trace_and_a_beginning_are_called_so() -> None:
    long, short = (routed(split("a, b; c\n" * times), layers=2) for times in (3, 1))
    report = report_of(long)
    versus = Versus("docs", report, compare(report, report), complete=False)
    page = Page(experts_html(ExpertsView("m", "", report, short, versus, complete=False)))
    assert "18 tokens in 2 layers, 2 of 8 experts each, interrupted" in page.all("p")
    assert "18 tokens in 2 layers, interrupted" in page.all("p")
    assert "Experts 0 to 7 are called A to H. The text below is that of the first 6 tokens." in page.all("p")


def test_letters_stand_below_what_is_seen_of_a_token() -> None:
    page = experts_html(view_of(routed(("a", " b"))))
    assert "left:calc(var(--lead,0)*1ch/.7)" in page
    assert r"const lead = /^ +(?=\S)/.exec(token.textContent);" in page


def test_foreign_text_stays_text() -> None:
    text = routed(HOSTILE, layers=2)
    report = report_of(text)
    versus = Versus("<i>\x00", report, compare(report, report))
    page = experts_html(view_of(text, versus=versus, model="</title><script>x", name='"><b>\ud800'))
    parsed = Page(page)
    assert not parsed.open
    shown = [visible_token(token).replace("\n", "⏎\n") for token in HOSTILE]
    assert parsed.all("i") == [token.replace("\ufffe\uffff", "\ufffd\ufffd") for token in shown]
    assert len(parsed.all("script")) == 2
    assert not parsed.all("b")[8:], "no bold but the letters of the legend"
    assert parsed.all("title") == ["Experts of </title><script>x"]
    page.encode()
    assert not set(page) & {"\x00", "\x1b", "\x9b", "\u202e", "\u2028", "\ufffe"}


def test_nothing_comes_from_anywhere_else() -> None:
    page = experts_html(view_of(routed(("a", "b"))))
    assert "default-src 'none'" in page
    assert not any(word in page for word in ("http:", "https:", "src=", "@import", "url(", "fetch("))


def test_figures_are_those_of_the_terminal_and_of_all_layers() -> None:
    text = routed(split("if x:\n  y = 1\n" * 20), layers=6)
    report = report_of(text)
    versus = Versus("docs", report, compare(report, report))
    page = Page(experts_html(view_of(text, versus=versus)))
    cells = page.all("td")
    assert f"{100 * report.layers[3].shares.assignments[5]:.1f}" in cells
    assert f"{report.layers[4].shares.entropy:.3f}" in cells
    assert page.all("summary") == ["All layers"] * 4
    assert any("tokens are too few to tell" in text for text in page.all("p"))
    everything = Page(experts_html(view_of(text, versus=versus, all_layers=True)))
    assert not everything.all("summary")


def test_no_layer_no_text_and_an_empty_second_text() -> None:
    nothing = Report(8, ())
    page = Page(experts_html(ExpertsView("m", "", nothing, RoutedText(8, (), ()))))
    assert "Nothing was routed: there was no token, or no layer has a router." in page.all("p")
    assert not page.all("script")
    report = report_of(routed(("a", "b")))
    page = Page(experts_html(ExpertsView("m", "", report, None, Versus("e", nothing, compare(report, nothing)))))
    assert not page.all("script")
    assert "0 tokens in 0 layers" in page.all("p")


def test_a_long_text_of_many_layers_stays_small() -> None:
    rng = random.Random(1)
    words = tuple(rng.choice((" the", "ing", ",", "\n", " x")) for _ in range(8000))
    text = routed(words, layers=1)
    layers = tuple(replace(text.layers[0], layer=index) for index in range(32))
    many = replace(text, layers=layers)
    page = experts_html(ExpertsView("m", "", report_of(text), many))
    assert len(page.encode()) < 600_000
