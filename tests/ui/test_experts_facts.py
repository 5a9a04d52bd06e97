from dataclasses import replace

from mixchat.routing.comparing import compare
from mixchat.ui.experts_facts import experts_facts, experts_json
from mixchat.ui.experts_values import ExpertsView, Versus
from tests.fakes.routing import report_of, routed, split

TEXT = routed(split("if x:\n  y = 1\n" * 20), layers=2)
REPORT = report_of(TEXT)
VIEW = ExpertsView("m", "a.py", REPORT, TEXT)
KEYS = {"model", "name", "complete", "experts", "experts_used", "tokens", "layers", "placement"}


def test_a_text_token_by_token() -> None:
    facts = experts_facts(VIEW)
    assert facts.keys() == KEYS | {"text", "choices"}
    assert (facts["experts"], facts["experts_used"], facts["tokens"]) == (8, 2, REPORT.tokens)
    assert facts["text"] == list(TEXT.tokens)


def test_the_counts_alone() -> None:
    assert experts_facts(VIEW, choices=False).keys() == KEYS
    assert experts_facts(replace(VIEW, text=None)).keys() == KEYS


def test_an_interrupted_text() -> None:
    assert experts_facts(VIEW)["complete"] is True
    assert experts_facts(replace(VIEW, complete=False))["complete"] is False


def test_a_comparison_has_both_texts() -> None:
    versus = Versus("docs", REPORT, compare(REPORT, REPORT), complete=False)
    facts = experts_facts(replace(VIEW, text=None, versus=versus))
    assert facts.keys() == KEYS | {"compared_with", "comparison"}
    second, comparison = facts["compared_with"], facts["comparison"]
    assert isinstance(second, dict)
    assert isinstance(comparison, dict)
    assert (second["name"], second["complete"], set(second)) == ("docs", False, KEYS)
    assert comparison.keys() == {"judged", "beyond", "false_alarms", "layers"}


def test_no_layer() -> None:
    facts = experts_facts(ExpertsView("dense", "", replace(REPORT, layers=())))
    assert (facts["layers"], facts["placement"], facts["tokens"]) == ([], None, 0)


def test_one_line() -> None:
    assert experts_json(VIEW).count("\n") == 1
    assert experts_json(VIEW).endswith("\n")
