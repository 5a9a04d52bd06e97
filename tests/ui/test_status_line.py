from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.plan.values import CPU, Footprint, Placement, Plan
from mixchat.ui.sanitize import columns, single_line
from mixchat.ui.status_line import StatusFacts, placement_words, status_line
from tests.fakes.plans import RAM, VRAM, mixtral, opened, plan_of

FACTS = StatusFacts("mixtral:Q4_K_M", "12 of 32 layers' experts in VRAM", 1234, 8192, 7.43)
NAMED = replace(FACTS, placement="all in RAM", persona="reviewer", session="my thesis", raw=True)


@pytest.mark.parametrize(
    ("facts", "width", "expected"),
    [
        (FACTS, 100, "mixtral:Q4_K_M | 12 of 32 layers' experts in VRAM | 1234/8192 | 7.4 t/s | markdown"),
        (FACTS, 80, "mixtral:Q4_K_M | 12 of 32 layers' experts in VRAM | 1234/8192 | 7.4 t/s"),
        (FACTS, 40, "mixtral:Q4_K_M | 1234/8192 | 7.4 t/s"),
        (FACTS, 36, "mixtral:Q4_K_M | 1234/8192 | 7.4 t/s"),
        (FACTS, 35, "mixtral:Q4_K_M | 1234/8192"),
        (FACTS, 20, "mixtral… | 1234/8192"),
        (FACTS, 17, "1234/8192"),
        (FACTS, 10, "1234/8192"),
        (NAMED, 80, "mixtral:Q4_K_M | all in RAM | 1234/8192 | 7.4 t/s | raw | reviewer | my thesis"),
        (NAMED, 70, "mixtral:Q4_K_M | all in RAM | 1234/8192 | 7.4 t/s | reviewer"),
        (NAMED, 50, "mixtral:Q4_K_M | all in RAM | 1234/8192 | 7.4 t/s"),
        (replace(FACTS, used=131000, context=131072), 10, "100 %"),
        (StatusFacts("demo"), 40, "demo | markdown"),
        (StatusFacts("a model with a long name"), 10, "a model w…"),
        (StatusFacts("模型的名字", "", 1, 8192), 15, "模型… | 1/8192"),
        (StatusFacts("\x1b[2Jx\ny", raw=True), 40, "␛[2Jx␊y | raw"),
    ],
)
def test_the_line(facts: StatusFacts, width: int, expected: str) -> None:
    assert status_line(facts, width) == expected


TEXTS = st.text(max_size=20)


@given(
    st.builds(
        StatusFacts, TEXTS, TEXTS, st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e4), st.booleans()
    ),
    TEXTS,
    st.integers(0, 200),
)
def test_it_fits_every_width_and_is_clean(facts: StatusFacts, name: str, width: int) -> None:
    line = status_line(replace(facts, persona=name, session=name), width)
    assert columns(line) <= width
    assert line == single_line(line)
    if width >= 10 and facts.context:
        share = f"{100 * facts.used / facts.context:.0f} %"
        assert f"{facts.used}/{facts.context}" in line or line == share[:width]


GPU = ("CUDA0", VRAM)


def placed(plan: Plan, *, dense: bool = False) -> str:
    found = opened(plan=plan)
    return placement_words(replace(found, model=replace(mixtral(), n_experts=0)) if dense else found)


def test_placements_in_a_few_words() -> None:
    split = plan_of(RAM, GPU)
    whole = replace(split, layers=tuple(Placement(i, *["CUDA0"] * 4) for i in range(32)))
    assert placed(plan_of()) == "all in RAM"
    assert placed(split) == "4 of 32 layers' experts in VRAM"
    assert placed(whole) == "all in VRAM"
    assert placed(replace(whole, head=CPU)) == "32 of 32 layers' experts in VRAM"
    assert placed(plan_of(RAM, GPU, ("CUDA1", Footprint()))) == "4 of 32 layers' experts in VRAM"
    halves = replace(split, n_gpu_layers=16)
    assert placed(halves, dense=True) == "16 of 32 layers in VRAM"
    assert placed(whole, dense=True) == "all in VRAM"
