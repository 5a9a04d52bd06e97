import pytest

from mixchat.engine.events import BufferSize, Finished, Timings, Usage
from mixchat.plan.values import Footprint
from mixchat.ui.stats import format_speed, stats_line
from tests.fakes.plans import GIB, VRAM, opened, plan_of

MIB = 1 << 20


def test_all_of_it() -> None:
    timings = Timings(812.4, 364.0, 1380.0, 121.0, 250.4, 108.3)
    line = stats_line(Finished("stop", Usage(120, 29, 150), timings), opened())
    assert line == (
        "load 0.80 s | prefill 120 tokens (29 cached), 250 t/s | first token 0.12 s | decode 150 tokens, 108 t/s"
    )


def test_what_did_not_run_has_no_speed() -> None:
    line = stats_line(Finished("length", Usage(5, 0, 1), Timings()), opened())
    assert line == "load 0.80 s | prefill 5 tokens | first token 0.00 s | decode 1 token"


def test_memory_is_told_beside_the_plan() -> None:
    plan = plan_of(Footprint(GIB, 0, 0), ("CUDA0", VRAM))
    buffers = (BufferSize("CUDA0", "model", 6 * GIB), BufferSize("CPU", "model", GIB), BufferSize("CPU", "output", MIB))
    line = stats_line(Finished("stop", Usage(5, 0, 1), Timings()), opened("mixtral", plan, buffers))
    assert line.endswith(" | decode 1 token | CUDA0 6.0 GiB of 7.5 GiB planned | CPU 1.0 GiB of 1.0 GiB planned")
    assert line.isascii()


@pytest.mark.parametrize(("speed", "shown"), [(7.42, "7.4 t/s"), (99.94, "99.9 t/s"), (100.4, "100 t/s")])
def test_speeds_have_three_digits(speed: float, shown: str) -> None:
    assert format_speed(speed) == shown
