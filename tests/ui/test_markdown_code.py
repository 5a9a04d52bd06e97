import time

import pytest

from mixchat.ui.markdown.code import Highlighter
from tests.fakes.markdown import SGR

GREEN, MAGENTA, CYAN, DIM = "\x1b[32m", "\x1b[35m", "\x1b[36m", "\x1b[2m"


def painted(name: str, text: str) -> str:
    highlighter = Highlighter(name)
    return "\n".join(highlighter.line(line) for line in text.split("\n"))


@pytest.mark.parametrize(
    ("name", "text", "style"),
    [
        ("python", 'x = """a\nb # c\n"""', GREEN),
        ("c", "/* a\nint b;\n*/", DIM),
        ("java", "/* a\nint b;\n*/", DIM),
        ("javascript", "let x = `a\nlet b\n`;", GREEN),
        ("go", "var x = `a\nfunc b\n`", GREEN),
        ("rust", "/* a /* b */\nfn c\n*/", DIM),
        ("html", "<!-- a\n<p>\n-->", DIM),
        ("haskell", "{- a\nmain = 1\n-}", DIM),
        ("lua", "--[[ a\nlocal b\n]]", DIM),
    ],
)
def test_what_began_on_a_line_before_goes_on(name: str, text: str, style: str) -> None:
    middle = text.split("\n")[1]
    lines = painted(name, text + "\nmore").split("\n")
    assert lines[1].replace("\x1b[0m", "").replace(style, "") == middle
    assert lines[1].startswith(style)
    assert not lines[3].startswith(style)


def test_a_comment_ends_in_the_middle_of_a_line() -> None:
    assert painted("c", "int a; /* b\nc */ int d; /* e */ int f;") == (
        f"{MAGENTA}int\x1b[0m a; {DIM}/* b\x1b[0m\n"
        f"{DIM}c */\x1b[0m {MAGENTA}int\x1b[0m d; {DIM}/* e */\x1b[0m {MAGENTA}int\x1b[0m f;"
    )


def test_lexers_that_are_no_stack_machines_see_single_lines() -> None:
    assert painted("json", '{"a":\n  true}') == f'{{{MAGENTA}"a"\x1b[0m:\n  {CYAN}true\x1b[0m}}'
    assert painted("ruby", "def f\n  1").startswith(f"{MAGENTA}def\x1b[0m")


@pytest.mark.parametrize("name", ["", "nonsense", "text", "Python3.99"])
def test_what_is_no_known_language_is_plain(name: str) -> None:
    assert painted(name, "def f(): return 1") == "def f(): return 1"


def test_names_are_those_of_pygments_in_any_case() -> None:
    assert painted("PY", "def") == painted("python", "def") == f"{MAGENTA}def\x1b[0m"


def test_a_very_long_line_is_plain() -> None:
    assert painted("python", "def " * 501) == "def " * 501


def test_a_lexer_that_runs_in_circles_goes_on() -> None:
    assert SGR.sub("", painted("mcschema", "<!-- a\n/ b\n{}")) == "<!-- a\n/ b\n{}"


@pytest.mark.parametrize(
    "name", ["python", "bash", "cpp", "javascript", "html", "sql", "yaml", "diff", "rust", "php", "tex"]
)
def test_no_character_is_lost_or_added(name: str) -> None:
    text = "a(b[c{'d\n\"e`f # /* <!-- \\\n$x ${y} %z <<EOF\n\n}])\t'''\n-->*/ é中\n+x\n-y\n<?php {% &amp; @\n  \n"
    assert SGR.sub("", painted(name, text)) == text


def test_a_line_costs_the_same_however_much_stands_before_it() -> None:
    def seconds(lines: int) -> float:
        highlighter = Highlighter("python")
        begin = time.process_time()
        for number in range(lines):
            highlighter.line(f'    value_{number} = call("text", {number})  # comment')
        return time.process_time() - begin

    seconds(10)
    assert seconds(4000) < 20 * seconds(1000)
