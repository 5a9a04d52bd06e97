import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mixchat.chat.attachments import Attachment, render_attachment, render_attachments

TWO = """\
File a.py:
```
print(1)
```

File notes/b.md:
````
# B
```sh
ls
```
````

What do they do?"""


def test_files_come_first_each_in_a_fence_of_its_own_and_the_question_last() -> None:
    files = (Attachment("a.py", "print(1)"), Attachment("notes/b.md", "# B\n```sh\nls\n```\n"))
    assert render_attachments(files, "What do they do?") == TWO


def test_without_files_the_text_is_as_it_was() -> None:
    assert render_attachments((), " hi\n") == " hi\n"
    assert render_attachments((), "") == ""


def test_files_may_come_alone() -> None:
    assert render_attachments((Attachment("a", "x\n"),), " \n") == "File a:\n```\nx\n```"


def test_an_empty_file_is_an_empty_block() -> None:
    assert render_attachment(Attachment("a", "")) == "File a:\n```\n```"


@pytest.mark.parametrize("name", ["a\nFile b:\n```", "a\x1b[2J", "a\u202eb", "a\udc80"])
def test_a_name_is_one_line_of_printable_characters(name: str) -> None:
    first, *rest = render_attachment(Attachment(name, "x")).split("\n")
    assert first.isprintable()
    assert rest == ["```", "x", "```"]


def test_half_a_surrogate_pair_becomes_a_character() -> None:
    assert render_attachment(Attachment("a", "x\ud800")) == "File a:\n```\nx\ufffd\n```"


@given(st.lists(st.sampled_from(["`", "```", "````", "~~~", "\n", "x", "> ", "    ", "- "]), max_size=12).map("".join))
def test_no_file_breaks_its_fence(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(render_attachments((Attachment("a", text),), "> ```\nquestion"))
    fences = [token for token in tokens if token.type == "fence" and token.level == 0]
    ended = text if not text or text.endswith("\n") else text + "\n"
    assert [token.content for token in fences] == [ended]
    assert tokens[1].content == "File a:"
