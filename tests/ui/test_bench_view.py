"""What `mixchat bench` prints, to the letter, on a wide and on a narrow screen."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from mixchat.app.benching import Benched, placement
from mixchat.app.comparing import Change, Measurement
from mixchat.app.source import Source
from mixchat.app.truth import allocations
from mixchat.engine.events import BufferSize
from mixchat.gguf.header import parse_header
from mixchat.plan.values import Footprint
from mixchat.ui.bench import bench_view, changes_in_words
from mixchat.ui.console import make_console
from tests.builders import mixtral_header
from tests.fakes.plans import GIB, VRAM, mixtral, opened, plan_of

SINCE = datetime(2026, 11, 2, tzinfo=UTC)
PLAN = plan_of(Footprint(20 * GIB, 0, GIB // 2), ("CUDA0", VRAM))
BUFFERS = (
    BufferSize("CUDA0", "model", 6 * GIB),
    BufferSize("CUDA0", "kv", GIB),
    BufferSize("CUDA0", "compute", GIB // 4),
    BufferSize("CPU_Mapped", "model", 26 * GIB),
)
RESULT = Benched(
    source=Source("mixtral", Path("mixtral.gguf"), None, parse_header(mixtral_header("static/Q4_K_M")), mixtral()),
    opened=opened("mixtral", PLAN, BUFFERS),
    build="abc",
    placement=placement(opened("mixtral", PLAN)),
    prefill=512,
    left_out=(4096,),
    measurements=(
        Measurement("prefill", 0, (250.0, 255.0, 245.0), 260.0),
        Measurement("decode", 0, (7.5,), None),
        Measurement("decode", 1024, (7.0, 7.1, 6.9), 10.0),
    ),
    memory=allocations(PLAN, BUFFERS),
    changes=(
        Change("prefill", 0, -0.121, 0.05, 5, SINCE),
        Change("decode", 0, 0.004, 0.05, 1, SINCE),
    ),
    complete=True,
)

WIDE = """\
mixtral (Q4_K_M), load 0.80 s
CUDA0 6.0 GiB, CPU 20.0 GiB; context 8192, KV f16, ubatch 512, mmap, 1 thread

tokens             measured  spread  forecast  ratio
prefill 512 at 0    250 t/s     4 %   260 t/s   0.96
decode 64 at 0      7.5 t/s     0 %         -      -
decode 64 at 1024   7.0 t/s     3 %  10.0 t/s   0.70

memory   planned      real   weights       KV    compute
CUDA0    7.5 GiB   7.2 GiB   6.0 GiB  1.0 GiB  256.0 MiB
CPU     20.5 GiB  20.0 GiB  20.0 GiB      0 B        0 B

decode at 0: +0 % against the run of 2026-11-02
prefill at 0: -12 % against the median of 5 runs since 2026-11-02: a regression,
more than the spread explains
4096 tokens of context are left out: getting there takes too long. --depths 4096
measures it.
"""

NARROW = """\
mixtral (Q4_K_M), load 0.80 s
CUDA0 6.0 GiB, CPU 20.0 GiB; context
8192, KV f16, ubatch 512, mmap, 1 thread

prefill 512 at 0
  measured 250 t/s, spread 4 %, forecast
  260 t/s, ratio 0.96
decode 64 at 0
  measured 7.5 t/s, spread 0 %
decode 64 at 1024
  measured 7.0 t/s, spread 3 %, forecast
  10.0 t/s, ratio 0.70

CUDA0
  planned 7.5 GiB, real 7.2 GiB, weights
"""


class Screen(BytesIO):
    def isatty(self) -> bool:
        return True


def drawn(result: Benched, width: int | None = None) -> str:
    raw = BytesIO() if width is None else Screen()
    stream = TextIOWrapper(raw, encoding="utf-8")
    environ = {} if width is None else {"COLUMNS": str(width), "NO_COLOR": "1"}
    make_console(stream, environ).print(bench_view(result))
    stream.flush()
    return "\n".join(line.rstrip() for line in raw.getvalue().decode().split("\n"))


def test_eighty_columns() -> None:
    assert drawn(RESULT, 80) == WIDE


def test_forty_columns() -> None:
    text = drawn(RESULT, 40)
    assert text.startswith(NARROW)
    assert max(map(len, text.splitlines())) <= 40


def test_a_pipe_gets_whole_lines() -> None:
    text = drawn(RESULT)
    assert "\x1b" not in text
    assert "a regression, more than the spread explains\n" in text


def test_a_part_says_so_and_nothing_that_is_unknown() -> None:
    part = replace(RESULT, measurements=RESULT.measurements[:1], memory=(), changes=(), left_out=(), complete=False)
    text = drawn(part, 80)
    assert "memory" not in text
    assert text.endswith("\n\nInterrupted: this is what was measured so far.\n")
    assert drawn(replace(part, complete=True), 80).endswith("0.96\n")


def test_regressions_come_last() -> None:
    words = changes_in_words(RESULT.changes)
    assert ["regression" in line for line in words] == [False, True]


@pytest.mark.parametrize("name", ["\x1b[31mred", "[/INST]"])
def test_names_are_text(name: str) -> None:
    text = drawn(replace(RESULT, opened=replace(RESULT.opened, name=name)), 80)
    assert "\x1b" not in text
    assert text.startswith(name.replace("\x1b", "␛"))
