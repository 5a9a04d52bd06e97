from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from mixchat.app.planning import Planned, Quantization
from mixchat.app.what_if import WhatIf
from mixchat.errors import DoesNotFit, NetworkError
from mixchat.plan.values import CPU, Footprint, Forecast, Placement, Plan, Share
from mixchat.ui.console import draws_blocks
from mixchat.ui.layer_map import bar_lengths
from mixchat.ui.output import print_out
from mixchat.ui.plan import PlanView, forecast_lines, plan_line, quantization_table
from mixchat.ui.plan_svg import plan_svg
from tests.fakes.plans import mixtral
from tests.fakes.streams import FakeStream

GIB = 1 << 30
SPEED = Forecast(
    7.43, 120.0, 1024, "experts on the CPU", "measured", (("steps of the graph", 4.0), ("experts on the CPU", 130.6))
)
SHARES = (
    Share("CUDA0", "gpu", 11 * GIB, Footprint(9 * GIB, GIB, GIB // 2)),
    Share(CPU, "cpu", 32 * GIB, Footprint(17 * GIB, 0, GIB // 4, 8 * GIB)),
)
SPLIT = Placement(10, "CUDA0", "CUDA0", CPU, "CUDA0")
REASONS = (
    "Attention lies on CUDA0.",
    "The other experts, a lot of them, stay in RAM and are computed by the CPU alone.",
)
WHAT_IF = WhatIf("half the context (4096 tokens)", "12 instead of 10 layers' experts in VRAM")


def layers(count: int, whole: int, *split: Placement) -> tuple[Placement, ...]:
    found = [Placement(i, "CUDA0", *(["CUDA0" if i < whole else CPU] * 3)) for i in range(count)]
    for each in split:
        found[each.index] = each
    return tuple(found)


PLAN = Plan(
    context=8192,
    kv_type="q8_0",
    ubatch=512,
    load_mode="copy",
    extra_buffers=False,
    layers=layers(32, 10, SPLIT),
    head="CUDA0",
    devices=("CUDA0",),
    n_gpu_layers=33,
    tensor_split=(33,),
    overrides=(),
    shares=SHARES,
    forecast=SPEED,
    reasons=REASONS,
)
PLANNED = Planned("mixtral:Q4_K_M", None, mixtral(), PLAN, None, (WHAT_IF,))

WIDE = """\
mixtral:Q4_K_M  Mixtral 8x7B Instruct v0.1 Q4_K_M, 26.5 GiB, 32 layers, 2 of 8
experts
fits: context 8192, KV cache q8_0, experts of 10 of 32 layers in VRAM
decode 7.4 t/s after 1024 tokens, prefill 120 t/s (measured); bound by experts
on the CPU
per token: 130.6 ms experts on the CPU, 4.0 ms other
ubatch 512, load mode copy, extra buffers off

device    budget   weights       KV    compute   copies       left
CUDA0   11.0 GiB   9.0 GiB  1.0 GiB  512.0 MiB        -  512.0 MiB
CPU     32.0 GiB  17.0 GiB        -  256.0 MiB  8.0 GiB    6.8 GiB
CUDA0  ███████████████████████████████████████████████████████▓▓▓▓▓▓▒▒▒···  95 %
CPU    ████████████████████████████████████▒░░░░░░░░░░░░░░░░░·············  79 %
       █ weights  ▓ KV cache  ▒ compute  ░ copies  · left

layer  0         10        20        30
CUDA0  ██████████▛▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀
CPU    ··········▖▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄
       █ whole layer  ▀ attention and KV cache  ▄ experts
       ▛ attention, part of the experts  ▖ the other part  · nothing

why
- Attention lies on CUDA0.
- The other experts, a lot of them, stay in RAM and are computed by the CPU
  alone.

what if
- half the context (4096 tokens): 12 instead of 10 layers' experts in VRAM
"""
NARROW = """\
CUDA0
  budget 11.0 GiB, weights 9.0 GiB, KV
  1.0 GiB, compute 512.0 MiB, left 512.0
  MiB
CPU
  budget 32.0 GiB, weights 17.0 GiB,
  compute 256.0 MiB, copies 8.0 GiB,
  left 6.8 GiB
CUDA0  ######################kkc..  95 %
CPU    ##############c+++++++.....  79 %
       # weights  k KV cache  c compute
       + copies  . left

layer  0         10        20
CUDA0  ##########+AAAAAAAAAAAAAAAAAAA
CPU    ..........-EEEEEEEEEEEEEEEEEEE
layer  30
CUDA0  AA
CPU    EE
       # whole layer
       A attention and KV cache
       E experts
       + attention, part of the experts
       - the other part  . nothing
"""


def drawn(view: object, width: int = 80, *, terminal: bool = True, colour: bool = False) -> str:
    stream = FakeStream(terminal=terminal)
    environ = {"TERM": "xterm", "COLUMNS": str(width)} | ({} if colour else {"NO_COLOR": "1"})
    print_out(stream, environ, view)  # type: ignore[arg-type]
    return stream.written


def test_a_plan_at_80_columns() -> None:
    assert drawn(PlanView(PLANNED)) == WIDE


def test_a_plan_at_40_columns_in_ascii() -> None:
    shown = drawn(PlanView(PLANNED, ascii_only=True), 40)
    assert NARROW in shown
    assert shown.isascii()
    assert max(map(len, shown.splitlines())) <= 40


def test_a_pipe_gets_no_escapes_and_pictures_of_80_columns() -> None:
    shown = drawn(PlanView(PLANNED), terminal=False, colour=True)
    assert "\x1b" not in shown
    pictures = [line for line in shown.splitlines() if "█" in line or "▄" in line]
    assert pictures
    assert max(map(len, pictures)) <= 80
    assert f"- {REASONS[1]}\n" in shown


def test_colour_marks_devices_and_says_nothing_alone() -> None:
    coloured = drawn(PlanView(PLANNED), colour=True)
    assert "\x1b[32m██████████▛" in coloured
    plain = drawn(PlanView(PLANNED))
    assert all(line in plain for line in ("██████████▛▀", "··········▖▄"))


@pytest.mark.parametrize(
    ("count", "width", "lines"), [(1, 80, 1), (70, 80, 1), (71, 80, 2), (512, 80, 8), (512, 40, 18)]
)
def test_any_number_of_layers_is_folded(count: int, width: int, lines: int) -> None:
    plan = replace(PLAN, layers=layers(count, count))
    shown = drawn(PlanView(replace(PLANNED, plan=plan)), width)
    rows = [line for line in shown.splitlines() if line.startswith("layer ")]
    assert len(rows) == lines
    marks = [line[7:] for line in shown.partition("\nlayer ")[2].splitlines() if line.startswith("CUDA0")]
    assert "".join(marks) == "█" * count
    assert max(map(len, shown.splitlines())) <= width
    assert rows[-1].split()[-1] == str((count - 1) // 10 * 10)


def test_a_dense_model_and_unknown_speed() -> None:
    model = replace(mixtral(), layout="dense", n_experts=0, n_experts_used=0)
    plan = replace(PLAN, layers=layers(32, 32), n_gpu_layers=20, forecast=None)
    shown = drawn(PlanView(Planned("d", None, model, plan, None, ())))
    assert "32 layers, dense" in shown
    assert "20 of 32 layers in VRAM" in shown
    assert "Nobody knows this machine's speed." in shown
    assert "what if" not in shown


def test_everything_on_the_cpu() -> None:
    cpu = replace(PLAN, layers=tuple(Placement(i, CPU, CPU, CPU, CPU) for i in range(32)), n_gpu_layers=0)
    assert plan_line(mixtral(), cpu) == "context 8192, KV cache q8_0, all on the CPU"


def test_what_does_not_fit_is_in_the_red() -> None:
    share = Share(CPU, "cpu", 4 * GIB, Footprint(25 * GIB, GIB, GIB))
    problem = DoesNotFit("It needs 27 GiB.", "RAM", 23 * GIB, ("Use less.",))
    planned = replace(PLANNED, plan=replace(PLAN, shares=(share,)), problem=problem)
    shown = drawn(PlanView(planned))
    assert "does not fit: context" in shown
    assert "It needs 27 GiB.\n" in shown
    assert "-23.0 GiB" in shown
    assert " 675 %" in shown


def test_nothing_of_a_name_reaches_the_terminal_raw() -> None:
    shown = drawn(PlanView(replace(PLANNED, name="a\x1b[2J", model=replace(mixtral(), name="[bold]x\x1b"))))
    assert "a␛[2J  [bold]x␛ Q4_K_M" in shown


@pytest.mark.parametrize("width", [10, 11, 40, 67])
def test_a_bar_shows_everything_that_is_there(width: int) -> None:
    tiny = Footprint(weights=10 * GIB, kv=1, compute=1, copies=1)
    for budget in (0, 1, 10 * GIB, 100 * GIB):
        lengths = bar_lengths(Share("CUDA0", "gpu", budget, tiny), width)
        assert sum(lengths) == width
        assert min(lengths[:4]) >= 1
    assert bar_lengths(Share(CPU, "cpu", 0, Footprint()), width) == (0, 0, 0, 0, width)


def test_a_device_without_a_budget_has_no_percentage() -> None:
    plan = replace(PLAN, shares=(Share("CUDA0", "gpu", 0, Footprint()), SHARES[1]))
    assert "  - %" in drawn(PlanView(replace(PLANNED, plan=plan)))


def test_a_forecast_names_what_takes_the_time() -> None:
    assert forecast_lines(replace(SPEED, parts=())) == (
        "decode 7.4 t/s after 1024 tokens, prefill 120 t/s (measured); bound by experts on the CPU",
    )
    parts = (("a", 10.0), ("b", 80.0), ("c", 9.0), ("d", 1.0))
    assert forecast_lines(replace(SPEED, parts=parts))[1] == "per token: 80.0 ms b, 10.0 ms a, 9.0 ms c, 1.0 ms other"


QUANTS = (
    Quantization("mixtral:Q8_0", "Q8_0", 46 * GIB, None, DoesNotFit("No.", "RAM", 15 * GIB, ())),
    Quantization("mixtral:Q4_K_M", "Q4_K_M", 26 * GIB, PLAN, None),
    Quantization("hf:a/b/c.gguf", "", 20 * GIB, None, NetworkError("Offline.", "")),
    Quantization("mixtral:Q2_K", "Q2_K", 16 * GIB, replace(PLAN, n_gpu_layers=0, forecast=None), None),
)


def test_quantizations_side_by_side() -> None:
    assert (
        drawn(quantization_table(QUANTS))
        == """\
quantization       file                    fits  VRAM layers   decode  prefill
Q8_0           46.0 GiB  no, lacks 15.0 GiB RAM            -        -        -
Q4_K_M         26.0 GiB                     yes     10 of 32  7.4 t/s  120 t/s
hf:a/b/c.gguf  20.0 GiB                       ?            -        -        -
Q2_K           16.0 GiB                     yes            -        -        -
"""
    )
    assert "Q8_0\n  file 46.0 GiB, fits no, lacks 15.0 GiB\n  RAM\n" in drawn(quantization_table(QUANTS), 40)


@pytest.mark.parametrize(
    ("locale", "encoding", "terminal", "blocks"),
    [
        ({"LANG": "C.UTF-8"}, "utf-8", True, True),
        ({}, "utf-8", True, True),
        ({"LANG": "C.UTF-8", "LC_ALL": "C"}, "utf-8", True, False),
        ({"LC_CTYPE": "POSIX"}, "utf-8", True, False),
        ({"LANG": "de_DE"}, "latin-1", True, False),
        ({"LC_ALL": "C"}, "utf-8", False, True),
    ],
)
def test_blocks_are_drawn_where_they_can_be_seen(
    locale: dict[str, str], encoding: str, terminal: bool, blocks: bool
) -> None:
    assert draws_blocks(FakeStream(encoding=encoding, terminal=terminal), locale) == blocks


def test_the_picture_is_sound_and_keeps_to_itself() -> None:
    text = plan_svg(replace(PLANNED, name="<b>\x1b&"))
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.tag.endswith("svg")
    words = [each.text or "" for each in root.iter() if each.tag.endswith(("text", "title"))]
    assert "<b>␛&  Q4_K_M, 26.5 GiB" in words
    assert "layer 10: attention CUDA0, experts up CUDA0, gate CPU, down CUDA0" in words
    assert "layer 31: attention CUDA0, experts CPU" in words
    assert "10.5 GiB of 11.0 GiB" in words
    assert "prefers-color-scheme:dark" in text
    assert text.count("http") == 1
    assert "<script" not in text


@pytest.mark.parametrize("count", [1, 34, 35, 36, 512])
def test_the_picture_has_a_square_for_each_layer_inside_its_frame(count: int) -> None:
    root = ET.fromstring(plan_svg(replace(PLANNED, plan=replace(PLAN, layers=layers(count, 3)))))  # noqa: S314
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    rects = [each.attrib for each in root.iter() if each.tag.endswith("rect")]
    assert sum(each.attrib.get("width") == "20" for each in root.iter()) == 2 * count
    for each in rects:
        assert 0 <= float(each.get("x", 0)) <= width - float(each["width"])
        assert 0 <= float(each.get("y", 0)) <= height - float(each["height"])
