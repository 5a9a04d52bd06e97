"""What leaves mixchat: exact as JSON, unbreakable as Markdown."""

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mixchat.chat.export import About, answerers, to_markdown, to_object
from mixchat.chat.inputs import parse_messages
from mixchat.chat.journal import (
    Answered,
    Dialogue,
    Forked,
    ModelChosen,
    Named,
    Rewound,
    SystemSet,
    ValueSet,
    WentBack,
    Windowed,
    replay,
)
from mixchat.chat.messages import Message, Turn

STARTED = datetime(2026, 11, 22, 4, 55, tzinfo=UTC)
ABOUT = About("20261122-0455-k3f9", "What is a river?", STARTED, STARTED, ("mixtral", "demo"))
RECORDS = (
    ModelChosen("mixtral"),
    SystemSet("Be brief."),
    ValueSet("seed", "7"),
    Answered(0, Turn("What is a river?", "Water.", thinking="Rivers.")),
    ModelChosen("demo"),
    Answered(1, Turn("More", "It fl", interrupted=True)),
    Answered(2, Turn("And", "", interrupted=True)),
)
MARKDOWN = """\
# What is a river?

*demo · session 20261122-0455-k3f9 · started 2026-11-22 04:55 UTC · changed 2026-11-22 04:55 UTC*

## System

Be brief.

## You

What is a river?

## mixtral

<details>
<summary>Thinking</summary>

Rivers.

</details>

Water.

## You

More

## demo

It fl

*(interrupted)*

## You

And

## demo

*(interrupted before an answer)*
"""
FENCES = ("```", "```py", "~~~", "````", "  ```", "   ~~~~", "- ```", "    ```", "> ```", "\t```", "```a`", "a\r\n```")
HTML = ("<!--", "<div>", "</details>", "<script>", "<?", "<![CDATA[", "<pre>", "  <!--", "- <!--", "a < b")
OTHERS = (
    "",
    "- x",
    "  y",
    "1. a",
    "    code",
    "# You",
    "text",
    "===",
    "---",
    "|a|b|",
    "|-|-|",
    "[x]: y",
    "`a",
    "**b",
    "\r",
)
LINES = st.sampled_from(FENCES) | st.sampled_from(HTML) | st.sampled_from(OTHERS)
TEXTS = st.lists(LINES, max_size=8).map("\n".join)


def test_a_conversation_to_read() -> None:
    assert to_markdown(replay(RECORDS), ABOUT) == MARKDOWN


def test_a_conversation_without_anything() -> None:
    assert to_markdown(Dialogue(), About()) == "# Conversation\n"
    facts = to_object(Dialogue(), About())
    assert (facts["messages"], facts["turns"], facts["started"]) == ([], [], None)


def test_a_name_wins_over_the_title_and_is_no_markup() -> None:
    dialogue = replay([Named("my_*list*\n# x"), Answered(0, Turn("a", "b"))])
    assert to_markdown(dialogue, ABOUT).startswith("# my\\_\\*list\\* \\# x\n")
    assert "## Model\n" in to_markdown(dialogue, About())


def test_a_summary_stands_where_the_window_begins() -> None:
    dialogue = replay([*RECORDS, Windowed(1, "They spoke of water.")])
    text = to_markdown(dialogue, ABOUT)
    parts = [text.index(each) for each in ("Rivers.", "## Summary\n\nThey spoke of water.\n\n## You\n\nMore")]
    assert parts == sorted(parts)


def test_a_conversation_to_compute_with() -> None:
    facts = to_object(replay(RECORDS), ABOUT)
    messages = parse_messages(json.dumps(facts["messages"]))
    assert messages == (
        Message("system", "Be brief."),
        Message("user", "What is a river?"),
        Message("assistant", "Water."),
        Message("user", "More"),
        Message("assistant", "It fl"),
    )
    assert facts["turns"] == [
        {
            "user": "What is a river?",
            "assistant": "Water.",
            "model": "mixtral",
            "thinking": "Rivers.",
            "interrupted": False,
        },
        {"user": "More", "assistant": "It fl", "model": "demo", "thinking": "", "interrupted": True},
        {"user": "And", "assistant": "", "model": "demo", "thinking": "", "interrupted": True},
    ]
    expected = {"id": ABOUT.id, "model": "demo", "system": "Be brief.", "settings": {"seed": "7"}, "left_out": 0}
    assert {key: facts[key] for key in expected} == expected
    assert facts["started"] == "2026-11-22T04:55:00+00:00"


def test_what_is_out_of_the_window_is_exported_too() -> None:
    windowed = to_object(replay([*RECORDS, Windowed(2, "so far")]), ABOUT)
    assert windowed["messages"] == to_object(replay(RECORDS), ABOUT)["messages"]
    assert (windowed["left_out"], windowed["summary"]) == (2, "so far")


def test_who_answered() -> None:
    assert answerers(RECORDS) == ("mixtral", "demo", "demo")
    assert answerers(()) == ()
    same = Turn("a", "b")
    records = (ModelChosen("x"), Answered(0, same), Forked("f"), Rewound(0), ModelChosen("y"), Answered(0, same))
    assert answerers(records)[-1] == "y"
    there = Answered(0, Turn("a", "b"))
    assert answerers((ModelChosen("x"), there, Forked("f"), ModelChosen("y"), Rewound(0), WentBack("f"))) == ("x",)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("```py\nx = 1", "```py\nx = 1\n```"),
        ("~~~~\n```\n<b>", "~~~~\n```\n<b>\n~~~~"),
        ("```\na\n```\n<b>", "```\na\n```\n\\<b>"),
        ("```a`b", "```a`b"),
        ("- x\n  ```\n  <b>\n  ```", "- x\n  ```\n  <b>\n  ```"),
        ("- x\n  ```\n  a", "> - x\n>   ```\n>   a"),
        ("- x\n  ```\n\n  a\nb\n```", "> - x\n>   ```\n>\n>   a\n> b\n> ```"),
        ("if a<b and <!-- c", "if a\\<b and \\<!-- c"),
        ("a <= b", "a <= b"),
        ("a\r\n\r\nb\n\n", "a\n\nb"),
    ],
)
def test_a_text_ends_what_it_began(text: str, shown: str) -> None:
    assert to_markdown(replay([Answered(0, Turn("q", text))]), About()) == (
        f"# Conversation\n\n## You\n\nq\n\n## Model\n\n{shown}\n"
    )


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=3))
def test_no_text_swallows_what_comes_after_it(said: list[tuple[str, str, str]]) -> None:
    records = [
        Answered(index, Turn(f"{user}\n\nu", answer + "\n\nu", thinking=thinking + "\n\nu"))
        for index, (user, answer, thinking) in enumerate(said)
    ]
    dialogue = replay([ModelChosen("xyzzy"), *records])
    tokens = MarkdownIt().parse(to_markdown(dialogue, About()))
    headings = [
        inline.content
        for opened, inline in pairwise(tokens)
        if opened.type == "heading_open" and opened.level == 0 and opened.tag == "h2"
    ]
    assert headings.count("You") == headings.count("xyzzy") == len(said)
    html = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert html == ["<details>\n<summary>Thinking</summary>", "</details>"] * len(said)
