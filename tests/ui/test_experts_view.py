import re
from dataclasses import replace
from functools import cache

import pytest

from mixchat.routing.choices import Choices
from mixchat.routing.comparing import compare
from mixchat.routing.routed_text import RoutedText
from mixchat.routing.tally import Report, Tally
from mixchat.ui.experts import experts_view
from mixchat.ui.experts_text import TextView
from mixchat.ui.experts_values import ExpertsView, Versus
from mixchat.ui.output import print_out
from tests.fakes.routing import HOSTILE, report_of, routed, split
from tests.fakes.streams import FakeStream

TOKENS = ("if", " x", ":", "\n", "  ", "y", " =", " 日本", "\n", "", "z")
NEAR = (3, 1, 0, 2, 1, 0, 3, 1, 3, 0, 0, 1, 1, 2, 0, 3, 3, 2, 2, 1, 0, 1)
FAR = (0, 1, 0, 2, 0, 3, 0, 1, 0, 2, 0, 3, 0, 1, 0, 2, 0, 3, 0, 1, 0, 2)
EQUAL = (0.5,) * len(NEAR)
TEXT = RoutedText(4, TOKENS, (Choices(0, 0, 2, NEAR, EQUAL), Choices(5, 0, 2, FAR, EQUAL)))
VIEW = ExpertsView("tiny", "a.py", report_of(TEXT), TEXT)

WIDE = """\
tiny  a.py: 11 tokens in 2 layers, 2 of 4 experts each
Experts 0 to 3 are called A to D.
⏎ end of line  ∅ token without text

First expert of each token in layer 0
A 36 %  B 18 %  C 9 %  D 36 %
if x:⏎
D  ABD
  y = 日本⏎
D A B A   D
∅z
CA

First expert of each token in layer 5
A 100 %  B 0 %  C 0 %  D 0 %
if x:⏎
A  AAA
  y = 日本⏎
A A A A   A
∅z
AA

Share of all choices: experts down, layers across
  0     mean
A ▒▒██  38.6
B ▓▓░░  25.0
C ░░░░  18.2
D ▒▒░░  18.2
▒ an equal share (25.0 %), ░ less, · under 1/4 of it, ▓ more, █ twice or more

How evenly experts are used, and how often the next token gets the same
layer   evenness  max/min     same first  by shares       same any
0          0.985      1.8         10.0 %     30.6 %         80.0 %
5          0.893      3.7        100.0 %    100.0 %        100.0 %
mean       0.939      2.7         55.0 %     65.3 %         90.0 %
chance     1.000      1.0  25.0 ± 13.7 %     25.0 %  83.3 ± 11.8 %
  evenness: entropy of the shares; 1: all are used alike, 0: one does all
  max/min: most used over least used expert; inf: one is never used
  same first: consecutive tokens with the same first expert
  by shares: how often that would be if only the layer's shares decided
  same any: consecutive tokens with an expert in common
  chance: uniform random routing, ± one standard error of this many tokens

Syntax or topic: how much a token's class decides about its first expert
layer     V  by chance    punct.   indent     word   joined     other
0      0.84       0.58  100 (51)  88 (44)  78 (51)  42 (44)  100 (68)
5         -          -     0 (0)    0 (0)    0 (0)    0 (0)     0 (0)
  V: Cramér's V of class and first expert; 0: unrelated, 1: it decides all
  by chance: what V stays under 95 times in 100 if they are unrelated
  punct. to other: how unlike all other tokens a class is routed; 0: alike, 100:
  no expert in common; in brackets: what chance gives on average
  joined: letters with no blank before: the rest of a word, or behind a bracket
  other: mixtures (x1), one blank, emoji, control tokens, parts of characters

What the most used experts of a layer carry
most used  choices  choices if equal   tokens  tokens if equal
1           40.9 %            25.0 %    0.0 %            0.0 %
2           63.6 %            50.0 %   31.8 %           16.7 %
3           84.1 %            75.0 %   68.2 %           50.0 %
4          100.0 %           100.0 %  100.0 %          100.0 %
  choices: their share of all choices, mean of the layers
  tokens: those that need no other expert
  if equal: what as many would have if all experts were used alike
11 tokens are too few to tell what a cache of the most used experts would spare:
that takes 1024 or more.
"""
NARROW = """\
tiny  a.py: 11 tokens in 2 layers, 2 of
4 experts each
Experts 0 to 3 are called A to D.
$ end of line  _ token without text

First expert of each token in layer 0
A 36 %  B 18 %  C 9 %  D 36 %
if x:$
D  ABD
  y = Z$
D A B AD
_z
CA

First expert of each token in layer 5
A 100 %  B 0 %  C 0 %  D 0 %
if x:$
A  AAA
  y = Z$
A A A AA
_z
AA

Share of all choices: experts down,
layers across
  0     mean
A 5599  38.6
B 6644  25.0
C 4444  18.2
D 5533  18.2
5 an equal share (25.0 %), 0 hardly
ever, 9 at least 1.7 times as much

How evenly experts are used, and how
often the next token gets the same
layer 0
  evenness 0.985, max/min 1.8, same
  first 10.0 %, by shares 30.6 %, same
  any 80.0 %
layer 5
  evenness 0.893, max/min 3.7, same
  first 100.0 %, by shares 100.0 %, same
  any 100.0 %
mean
  evenness 0.939, max/min 2.7, same
  first 55.0 %, by shares 65.3 %, same
  any 90.0 %
chance
  evenness 1.000, max/min 1.0, same
  first 25.0 +/- 13.7 %, by shares 25.0
  %, same any 83.3 +/- 11.8 %
  evenness: entropy of the shares; 1:
  all are used alike, 0: one does all
  max/min: most used over least used
  expert; inf: one is never used
  same first: consecutive tokens with
  the same first expert
  by shares: how often that would be if
  only the layer's shares decided
  same any: consecutive tokens with an
  expert in common
  chance: uniform random routing, +/-
  one standard error of this many tokens

Syntax or topic: how much a token's
class decides about its first expert
layer 0
  V 0.84, by chance 0.58, punct. 100
  (51), indent 88 (44), word 78 (51),
  joined 42 (44), other 100 (68)
layer 5
  punct. 0 (0), indent 0 (0), word 0
  (0), joined 0 (0), other 0 (0)
  V: Cramer's V of class and first
  expert; 0: unrelated, 1: it decides
  all
  by chance: what V stays under 95 times
  in 100 if they are unrelated
  punct. to other: how unlike all other
  tokens a class is routed; 0: alike,
  100: no expert in common; in brackets:
  what chance gives on average
  joined: letters with no blank before:
  the rest of a word, or behind a
  bracket
  other: mixtures (x1), one blank,
  emoji, control tokens, parts of
  characters

What the most used experts of a layer
carry
most used 1
  choices 40.9 %, choices if equal 25.0
  %, tokens 0.0 %, tokens if equal 0.0 %
most used 2
  choices 63.6 %, choices if equal 50.0
  %, tokens 31.8 %, tokens if equal 16.7
  %
most used 3
  choices 84.1 %, choices if equal 75.0
  %, tokens 68.2 %, tokens if equal 50.0
  %
most used 4
  choices 100.0 %, choices if equal
  100.0 %, tokens 100.0 %, tokens if
  equal 100.0 %
  choices: their share of all choices,
  mean of the layers
  tokens: those that need no other
  expert
  if equal: what as many would have if
  all experts were used alike
11 tokens are too few to tell what a
cache of the most used experts would
spare: that takes 1024 or more.
"""
COLOURED = """\
Experts 0 to 3 are called A to D.
⏎ end of line  ∅ token without text

\x1b[1mFirst expert of each token in layer 0\x1b[0m
\x1b[30;43mA\x1b[0m 36 %  \x1b[30;46mB\x1b[0m 18 %  \x1b[30;42mC\x1b[0m 9 %  \x1b[30;47mD\x1b[0m 36 %
\x1b[30;47mif\x1b[0m\x1b[30;43m x\x1b[0m\x1b[30;46m:\x1b[0m\x1b[30;47m⏎\x1b[0m
\x1b[30;47m  \x1b[0m\x1b[30;43my\x1b[0m\x1b[30;46m =\x1b[0m\x1b[30;43m 日本\x1b[0m\x1b[30;47m⏎\x1b[0m
\x1b[30;42m∅\x1b[0m\x1b[30;43mz\x1b[0m
"""


def drawn(view: object, width: int = 80, *, terminal: bool = True, colour: bool = False) -> str:
    stream = FakeStream(terminal=terminal)
    environ = {"TERM": "xterm", "COLUMNS": str(width)} | ({} if colour else {"NO_COLOR": "1"})
    print_out(stream, environ, view)  # type: ignore[arg-type]
    return stream.written


def shown(view: ExpertsView, width: int = 80, *, ascii_only: bool = False, colour: bool = False) -> str:
    return drawn(experts_view(view, ascii_only), width, colour=colour)


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def versus(left: Report, right: Report) -> Versus:
    return Versus("docs/*.md", right, compare(left, right))


@cache
def sample(n_experts: int, used: int) -> ExpertsView:
    text = routed(split("def f(x):\n    return 42\n" * 3), n_experts, used, layers=40)
    report = report_of(text)
    return ExpertsView("m", "", report, text, versus(report, report))


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_all_of_it_at_80_columns() -> None:
    assert shown(VIEW) == WIDE


def test_all_of_it_at_40_columns_in_ascii() -> None:
    text = replace(TEXT, tokens=(*TOKENS[:7], " Z", *TOKENS[8:]))
    assert shown(replace(VIEW, text=text), 40, ascii_only=True) == NARROW
    assert NARROW.isascii()
    assert widest(NARROW) <= 40


def test_colour_takes_the_place_of_letters() -> None:
    view = TextView(TEXT, (0,))
    assert drawn(view, colour=True) == COLOURED
    both = drawn(replace(view, letters=True), colour=True)
    assert plain(both) == drawn(view)
    assert "\x1b[97" not in both.partition("layer 0")[2], "four experts have the first four colours"


def test_a_dumb_terminal_and_a_pipe_get_letters() -> None:
    stream = FakeStream(terminal=True)
    print_out(stream, {"TERM": "dumb", "COLUMNS": "80"}, TextView(TEXT, (0,)))
    assert stream.written == drawn(TextView(TEXT, (0,)))
    assert drawn(TextView(TEXT, (0,)), terminal=False, colour=True) == stream.written


def test_a_pipe_breaks_the_text_at_80_columns_and_not_the_sentences() -> None:
    text = routed(split("word " * 1200))
    piped = drawn(experts_view(ExpertsView("m", "", report_of(text), text)), terminal=False)
    assert "\x1b" not in piped
    assert max(len(line) for line in piped.splitlines() if "word word" in line) <= 80
    assert re.search(r"^The 2 most used of 8 .*slower memory\.$|^The 2 most used of 8 .*would\.$", piped, re.MULTILINE)


def test_a_long_text_is_cut() -> None:
    view = TextView(TEXT, (0, 5), most_lines=1)
    assert drawn(view).count("... and 2 more lines") == 2
    assert "... and 1 more line\n" in drawn(replace(view, most_lines=2))
    assert "more line" not in drawn(replace(view, most_lines=3))


def test_chosen_layers_and_all_layers() -> None:
    text = routed(split("a b, c d; e f\n" * 20), layers=9)
    view = ExpertsView("m", "", report_of(text), text)
    assert re.findall(r"token in layer (\d)", shown(view)) == ["0", "4", "8"]
    chosen = shown(replace(view, layers=(7, 2, 99)))
    assert re.findall(r"token in layer (\d)", chosen) == ["2", "7"]
    assert re.findall(r"^(\d)  +[01]\.\d\d\d", chosen, re.MULTILINE) == ["2", "7"]
    everywhere = shown(replace(view, all_layers=True))
    assert re.findall(r"^(\d)  +[01]\.\d\d\d", everywhere, re.MULTILINE) == list("012345678")
    assert re.findall(r"token in layer (\d)", everywhere) == list("012345678")


def test_a_comparison_shows_both_texts_and_the_verdict() -> None:
    left, right = (routed(split(words * 300), layers=3, seed=3) for words in ("if x:\n  y = 1\n", "Once upon a time, "))
    reports = report_of(left), report_of(right)
    view = ExpertsView("m", "src/*.py", reports[0], versus=versus(*reports))
    text = shown(view)
    assert "src/*.py: 2700 tokens in 3 layers, 2 of 8 experts each\n" in text
    assert "\ndocs/*.md  1501 tokens in 3 layers\n" in text
    assert "docs/*.md (1501 tokens) is too short to say what chance would give: that takes\n" in text
    assert re.search(r"^layer .*  texts$", text, re.MULTILINE)
    assert widest(text) <= 80
    same = shown(replace(view, versus=versus(reports[0], reports[0])))
    assert "In 0 of 3 layers the texts differ by more than chance explains; two samples of\n" in same
    assert re.search(r"^1 +0\.0 % +0\.0 % +\d.* ± \d.* % +no$", same, re.MULTILINE)
    longer = report_of(routed(split("Once upon a time, " * 900), layers=3, seed=3))
    assert "In 3 of 3 layers the texts differ by more" in shown(replace(view, versus=versus(reports[0], longer)))


def test_layers_that_use_different_numbers_of_experts_say_so() -> None:
    tally = Tally(8)
    for layer in (0, 1, 2):
        used = layer + 1
        tally.add(Choices(layer, 0, used, tuple(range(used)) * 3, (1 / used,) * used * 3))
    text = shown(ExpertsView("puzzle", "", tally.report()))
    assert "3 tokens in 3 layers, 1 to 3 of 8 experts each" in text
    assert re.search(r"^chance +1\.000 +1\.0 +12\.5 ± [\d.]+ % +12\.5 % +47\.0 ± [\d.]+ %$", text, re.MULTILINE)


def test_texts_that_are_too_short_are_named() -> None:
    short, long = (report_of(routed(split("Once upon a time, " * times), layers=2, seed=3)) for times in (300, 400))
    one = shown(ExpertsView("m", "\x1b.py", long, versus=versus(long, short)))
    assert "\ndocs/*.md (1501 tokens) is too short to say what chance would give: that takes\n1921 tokens" in one
    other = shown(ExpertsView("m", "\x1b.py", short, versus=versus(short, long)))
    assert "\n␛.py (1501 tokens) is too short to say" in other
    both = " ".join(
        shown(ExpertsView("m", "", short, versus=versus(short, report_of(routed(("a",), layers=2))))).split()
    )
    assert "the first text (1501 tokens) and docs/*.md (1 token) are too short to say what" in both
    assert "takes 1921 tokens (16 batches of 128)." in both


def test_texts_that_share_no_long_layer() -> None:
    report = report_of(routed(split("Once upon a time, " * 400), layers=2))
    left, right = (replace(report, layers=(layer,)) for layer in report.layers)
    text = shown(ExpertsView("m", "a", left, versus=versus(left, right)))
    assert "No layer has enough tokens of both texts to say what chance would give: that\n" in text


def test_an_interrupted_trace_says_so() -> None:
    view = replace(VIEW, complete=False)
    assert "11 tokens in 2 layers, 2 of 4 experts each, interrupted\n" in shown(view)
    second = versus(VIEW.report, VIEW.report)
    assert "interrupted" not in shown(replace(VIEW, versus=second))
    assert "\ndocs/*.md  11 tokens in 2 layers, interrupted\n" in shown(
        replace(VIEW, versus=replace(second, complete=False))
    )


def test_a_text_that_is_only_a_beginning_says_so() -> None:
    view = ExpertsView("m", "", report_of(routed((*TOKENS, "more"), 4)), TEXT)
    assert "\nThe text below is that of the first 11 tokens.\nExperts 0 to 3" in shown(view)
    assert "The text below" not in WIDE


@pytest.mark.parametrize(
    ("tokens", "span", "notes"),
    [
        (("a", " b", ","), "punct. to joined: how", ["joined"]),
        ((" b", ","), "punct. to word: how", []),
        ((" b", "x1", "a"), "word to other: how", ["joined", "other"]),
        ((" b", "1", "x1"), "digits to other: how", ["other"]),
    ],
)
def test_classes_are_explained_where_they_are_shown(tokens: tuple[str, ...], span: str, notes: list[str]) -> None:
    classes = shown(ExpertsView("m", "", report_of(routed(tokens * 9)))).partition("Syntax")[2].partition("What")[0]
    assert span in classes
    assert [word for word in ("joined", "other") if f"  {word}: " in classes] == notes


@pytest.mark.parametrize(("n_experts", "used"), [(1, 1), (8, 1), (8, 2), (16, 4), (64, 6), (128, 8)])
@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_any_number_of_experts_at_any_width(n_experts: int, used: int, width: int, *, ascii_only: bool) -> None:
    view = sample(n_experts, used)
    plain_text = shown(view, width, ascii_only=ascii_only)
    assert widest(plain_text) <= width
    assert plain_text.isascii() or not ascii_only
    assert plain(shown(view, width, ascii_only=ascii_only, colour=True)).count("\n") < plain_text.count("\n")


@pytest.mark.parametrize("width", [1, 2, 5, 13])
def test_no_width_is_too_narrow(width: int) -> None:
    assert "A" in shown(VIEW, width)


def test_no_layer_and_no_token() -> None:
    nothing = Report(8, ())
    text = shown(ExpertsView("dense", "", nothing, RoutedText(8, (), ()), versus(nothing, nothing)))
    assert text == ("dense  0 tokens in 0 layers\nNothing was routed: there was no token, or no layer has a router.\n")
    text = shown(replace(VIEW, versus=versus(VIEW.report, Report(4, ()))))
    assert "docs/*.md  0 tokens in 0 layers\n" in text


def test_one_token_has_no_pairs_and_no_classes_to_compare() -> None:
    text = routed(("hello",), layers=1)
    shows = shown(ExpertsView("m", "", report_of(text), text))
    assert "1 token in 1 layer, 2 of 8 experts each" in shows
    assert re.search(r"^0 .* inf +- +100\.0 % +-$", shows, re.MULTILINE)
    assert "Syntax or topic" not in shows
    assert "mean " not in shows.partition("How evenly")[2].partition("chance")[0]


def test_a_report_without_a_text_and_without_classes() -> None:
    bare = report_of(TEXT, classes=False)
    shows = shown(ExpertsView("m", "", bare))
    assert "First expert" not in shows
    assert "Syntax or topic" not in shows
    assert "Share of all choices" in shows


@pytest.mark.parametrize("colour", [False, True])
def test_nothing_foreign_acts_on_the_terminal(*, colour: bool) -> None:
    text = routed((*HOSTILE, "x" * 1000, "[/INST]", "[bold]"))
    report = report_of(text)
    view = ExpertsView("m\x1b[2J", "\x1b]0;x\x07[red]", report, text, replace(versus(report, report), name="\x1b[31m"))
    raw = shown(replace(view, text_lines=None), colour=colour)
    left = plain(raw)
    assert all(char == "\n" or char.isprintable() or char in "\u200d\ufffe\uffff" for char in left)
    assert "[/INST][bold]" in left
    assert "m␛[2J" in left
    assert "␛]0;x␇[red]: " in left


def test_a_sample_is_called_one() -> None:
    report = report_of(routed(split("a b, c d; e f\n")))
    layers = tuple(replace(layer, traffic=replace(layer.traffic, exact=False)) for layer in report.layers)
    assert "  tokens: those that need no other expert\n" in shown(ExpertsView("m", "", report))
    assert "  tokens: those that need no other expert, in a sample of them\n" in shown(
        ExpertsView("m", "", replace(report, layers=layers))
    )


def test_many_experts_have_tables_of_some_sizes() -> None:
    report = report_of(routed(split("a b, c d; e f\n" * 9), 60, 4))
    traffic = shown(ExpertsView("m", "", report)).partition("What the most used")[2].partition("choices:")[0]
    assert re.findall(r"^(\d+) .*100\.0 %$|^(\d+) ", traffic, re.MULTILINE) == [
        ("", "1"),
        ("", "2"),
        ("", "4"),
        ("", "8"),
        ("", "15"),
        ("", "16"),
        ("", "32"),
        ("60", ""),
    ]


def test_layers_that_only_one_text_has_are_not_compared() -> None:
    text = routed(split("a b, c d; e f\n" * 20), layers=3)
    report = report_of(text)
    shows = shown(ExpertsView("m", "", report, versus=versus(report, replace(report, layers=report.layers[:2]))))
    classes = shows.partition("Syntax")[2].partition("What")[0]
    assert re.search(r"^2 .* -$", classes, re.MULTILINE)
    compared = shows.partition("How differently")[2]
    assert re.findall(r"^(\d)  ", compared, re.MULTILINE) == ["0", "1"]
