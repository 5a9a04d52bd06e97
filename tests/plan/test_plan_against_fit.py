"""Against what llama.cpp's own fitting chooses at equal VRAM: never slower by the forecast."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.plan.place import place
from mixchat.plan.values import Wishes
from tests.plan.fit_reference import exchange, fit
from tests.plan.machines import GIB, dense, machine, mixtral, resolved


@pytest.mark.parametrize("quant", ["static/Q2_K", "static/Q4_K_M", "static/Q8_0", "i1/IQ2_XXS"])
@pytest.mark.parametrize("context", [4096, 16384, 32768])
def test_never_slower_on_one_gpu(quant: str, context: int) -> None:
    for vram in (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 80):
        there = machine(128 * GIB, vram * GIB)
        ours, theirs = place(mixtral(quant), there, Wishes(context=context)), fit(mixtral(quant), there, context)
        assert exchange(ours) <= exchange(theirs) * (1 + 1e-9), vram


@given(st.lists(st.integers(2, 30), min_size=1, max_size=3))
def test_never_slower_on_several_gpus(vram: list[int]) -> None:
    there = machine(128 * GIB, *(size * GIB for size in vram))
    ours, theirs = place(mixtral(), there, Wishes(context=8192)), fit(mixtral(), there, 8192)
    assert exchange(ours) <= exchange(theirs) * (1 + 1e-9)


def test_the_reference_chooses_as_llama_cpp_does() -> None:
    """At 12 GiB it puts whole layers in front and dense-only ones behind them, and part of one more if that fits."""
    plan = fit(mixtral(), machine(128 * GIB, 12 * GIB), 8192)
    assert plan.n_gpu_layers == 33
    whole = [layer.experts == "CUDA0" for layer in plan.layers]
    assert whole == sorted(whole, reverse=True)
    assert sum(whole) == plan.expert_layers > 5
    assert resolved(mixtral(), plan)["CUDA0"] == plan.share("CUDA0").footprint.weights
    assert fit(mixtral(), machine(128 * GIB, 80 * GIB), 8192).expert_layers == 32
    assert 0 < fit(dense(), machine(128 * GIB, 4 * GIB), 8192).n_gpu_layers < 33
