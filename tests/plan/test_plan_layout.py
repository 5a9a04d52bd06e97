from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from mixchat.gguf.model import MoeModel
from mixchat.plan.layout import _fits, _try
from mixchat.plan.pinned import pin
from mixchat.plan.site import Site
from mixchat.plan.values import GPU_MARGIN, Override
from tests.plan.machines import GIB, dense, dense_first, joined, machine, mixtral, tied

CUTS = st.sampled_from([(), ("up", "gate"), ("down",), ("up",)])
PATTERNS = st.sampled_from([(), (Override(r"blk\.\d\.ffn_up_exps", "CPU"),), (Override("attn_q", "CPU"),)])


@given(
    st.sampled_from([mixtral, tied, dense_first, dense, joined]),
    st.tuples(st.integers(0, 40 * GIB), st.sampled_from([0, 4096])),
    st.tuples(st.integers(0, 32), st.integers(0, 31)),
    CUTS,
    PATTERNS,
)
def test_asking_is_the_same_as_trying(
    which: Callable[[], MoeModel],
    sizes: tuple[int, int],
    numbers: tuple[int, int],
    cut: tuple[str, ...],
    overrides: tuple[Override, ...],
) -> None:
    vram, trace = sizes
    model, there = which(), machine(64 * GIB, vram)
    if which in {dense, joined}:
        overrides, cut = (), () if which is dense else cut[:0]
    site = Site(model, pin(model, there, overrides), there.gpus, GPU_MARGIN, 8192, "f16", 512, trace)
    assert _fits(site, *numbers, cut) == (_try(site, *numbers, cut) is not None)
