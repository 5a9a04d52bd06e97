"""Answers as models write them, and how they come out of the renderer."""

import re
from collections.abc import Iterable

from mixchat.ui.markdown import MarkdownWriter
from tests.fakes.streams import FakeStream

SGR = re.compile(r"\x1b\[[0-9;]*m")
STATUS = re.compile(r"\r\x1b\[2K|(?:\x1b\[2m)?(?:…|\.\.\.) table, \d+ rows?(?:\x1b\[0m)?")


def render(text: str | Iterable[str], width: int = 60, *, colour: bool = False, locale: str = "C.UTF-8") -> str:
    """What a terminal gets, status lines included."""
    stream = FakeStream(terminal=True)
    environ = {"COLUMNS": str(width), "TERM": "xterm-256color", "LANG": locale} | ({} if colour else {"NO_COLOR": "1"})
    with MarkdownWriter(stream, environ) as writer:
        for piece in [text] if isinstance(text, str) else text:
            writer.write(piece)
    return stream.written


def lasting(output: str) -> str:
    """The output without status lines."""
    return STATUS.sub("", output)


def cut(text: str, *sizes: int) -> list[str]:
    """The text in pieces of these sizes, over and over."""
    pieces, at, number = [], 0, 0
    while at < len(text):
        size = sizes[number % len(sizes)]
        pieces.append(text[at : at + size])
        at, number = at + size, number + 1
    return pieces


def long_answer(sections: int) -> str:
    """An answer of 25 lines a section, with everything in it."""
    return "".join(SECTION.format(number=number) for number in range(1, sections + 1))


SECTION = """## Section {number}

The **router** of layer {number} picks *two* of eight experts for every token, and `top_k` says so; \
see [the paper](https://example.org/{number}) for ~~all~~ the details that matter here.

1. Load the weights:
   ```python
   def load_{number}(path: str) -> bytes:
       \"\"\"Read
       it all.\"\"\"
       return open(path, "rb").read()  # {number}
   ```
2. Then **run** it:
   - on the CPU, where the memory's bandwidth is what bounds the speed of decoding
   - or on the GPU

> A quote that is long enough to be wrapped on a terminal of eighty columns, number {number}.

| Expert | Share | Layer |
|:-------|------:|-------|
| one | {number} % | `blk.{number}` |
| zwei 中文 | 7 % | x |

---

"""
