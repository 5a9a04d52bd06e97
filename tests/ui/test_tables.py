from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.catalogue import Row
from mixchat.app.keeping import Unfinished
from mixchat.gguf.model import MoeModel
from mixchat.models.keeping import Leftover, Partial
from mixchat.models.library import Installed, Record
from mixchat.ui.output import print_out
from mixchat.ui.tables import list_table, show_table
from tests.fakes.plans import mixtral
from tests.fakes.streams import FakeStream

PATH = Path("/home/person/.local/share/mixchat/models/mixtral/mixtral-8x7b-instruct.Q4_K_M.gguf")
DENSE = replace(mixtral(), layout="dense", n_experts=0, n_experts_used=0, output=0, other=0)


def row(name: str, size: int, model: MoeModel | None) -> Row:
    record = Record(name, "model.gguf", size, "0" * 64, "a test", "2025-01-01T00:00:00Z")
    return Row(Installed(record, Path("/models") / name / "model.gguf"), model, "" if model else "It is cut off.")


ROWS = (
    replace(
        row("demo", 259_000_000, replace(mixtral("static/Q8_0"), layout="merged")),
        last_used="2025-02-03T04:05:06+00:00",
    ),
    row("mixtral", 28_448_468_384, replace(mixtral(), layout="legacy")),
    row("dense\x1b[2J", 999, DENSE),
    row("broken", 1234, None),
)

WIDE = """\
name            size  quantization  layout  experts  context  last use
demo       247.0 MiB  Q8_0          merged  2 of 8     32768  2025-02-03
mixtral     26.5 GiB  Q4_K_M        legacy  2 of 8     32768  -
dense␛[2J      999 B  Q4_K_M        dense   -          32768  -
broken       1.2 KiB  damaged       -       -              -  -
"""
NARROW = """\
demo
  247.0 MiB, Q8_0, merged
  experts 2 of 8, context 32768
  last use 2025-02-03
mixtral
  26.5 GiB, Q4_K_M, legacy
  experts 2 of 8, context 32768
dense␛[2J
  999 B, Q4_K_M, dense
  experts -, context 32768
broken
  1.2 KiB, damaged
"""


def listed(rows: Sequence[Row], width: int, *, terminal: bool = True, colour: bool = False) -> str:
    stream = FakeStream(terminal=terminal)
    environ = {"TERM": "xterm", "COLUMNS": str(width)} | ({} if colour else {"NO_COLOR": "1"})
    print_out(stream, environ, list_table(rows))
    return stream.written


def test_a_list_at_80_columns() -> None:
    assert listed(ROWS, 80) == WIDE


def test_a_list_at_40_columns() -> None:
    assert listed(ROWS, 40) == NARROW


def test_a_piped_list_knows_no_width() -> None:
    assert listed(ROWS, 40, terminal=False, colour=True) == WIDE


def test_downloads_that_can_go_on_and_leftovers_come_last() -> None:
    partials = (Partial("half", "a.gguf", 500, 1000), Partial("some", "b.gguf", 7, None))
    strays = tuple(Leftover("left", Path(f"/models/left/{index}.tmp"), 600) for index in range(2))
    stream = FakeStream(terminal=False)
    print_out(stream, {}, list_table((), Unfinished(partials, strays)))
    assert stream.written.splitlines()[1:] == [
        "half    500 B  partial, 50 %  -       -              -  -",
        "some      7 B  partial        -       -              -  -",
        "left  1.2 KiB  leftover       -       -              -  -",
    ]


def test_a_long_name_is_never_cut() -> None:
    name = "n" * 60
    assert listed([row(name, 1, None)], 80) == f"{name}\n  1 B, damaged\n"
    assert listed([row(name, 1, None)], 40) == f"{name[:40]}\n{name[40:]}\n  1 B, damaged\n"


def test_colour_is_in_the_headings_only() -> None:
    heading, _, rest = listed(ROWS, 80, colour=True).partition("\n")
    assert heading.startswith("\x1b[1m")
    assert rest == WIDE.partition("\n")[2]


@pytest.mark.parametrize("width", [1, 2, 5, 13, 500])
def test_any_width_does(width: int) -> None:
    assert listed(ROWS, width)
    assert shown(mixtral(), width)


def shown(model: MoeModel, width: int = 80, *, terminal: bool = True) -> str:
    stream = FakeStream(terminal=terminal)
    environ = {"TERM": "xterm", "COLUMNS": str(width), "NO_COLOR": "1"}
    print_out(stream, environ, show_table("mixtral", PATH, model))
    return stream.written


TEMPLATED = replace(mixtral(), chat_template="{{ bos }}{% for message in messages %}{{ " + "x" * 60 + "\n\n\x1b\nb\nc")


def test_a_model_at_80_columns() -> None:
    assert shown(TEMPLATED) == (
        """\
name            mixtral
title           Mixtral 8x7B Instruct v0.1
path            /home/person/.local/share/mixchat/models/mixtral/mixtral-8x7b-in
                struct.Q4_K_M.gguf
architecture    llama
quantization    Q4_K_M
layers          32
layout          merged
experts         2 of 8 per token
context         32768 tokens
file            26.5 GiB (28,448,468,384 bytes)
  dense         917.0 MiB (attention, router, norms)
  experts up    7.9 GiB
  experts gate  7.9 GiB
  experts down  9.7 GiB
  embedding     70.3 MiB
  head          102.5 MiB
  other         16.0 KiB
per token       7.4 GiB read
template        {{ bos }}{% for message in messages %}{{ xxxxxxxxxxxxxxxxxxxxxx…
                ␛
                b
                (108 characters)
"""
    )


def test_a_model_at_40_columns() -> None:
    lines = shown(TEMPLATED, 40).splitlines()
    assert max(map(len, lines)) == 40
    assert lines[3:7] == [
        "path            /home/person/.local/shar",
        "                e/mixchat/models/mixtral",
        "                /mixtral-8x7b-instruct.Q",
        "                4_K_M.gguf",
    ]


def test_a_piped_model_is_not_wrapped() -> None:
    text = shown(TEMPLATED, 40, terminal=False)
    assert f"path            {PATH}\n" in text
    assert "x" * 60 + "\n" in text


def test_a_dense_model_has_no_experts() -> None:
    text = shown(replace(DENSE, chat_template=None))
    assert "experts       none\n" in text
    assert "  experts up" not in text
    assert "  head        the embedding\n" in text
    assert "  other" not in text
    assert text.endswith("template      none\n")
    assert shown(replace(DENSE, chat_template="\n")).endswith("template      blank\n")
