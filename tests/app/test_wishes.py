from pathlib import Path

import pytest

from mixchat.app.wishes import wishes_of
from mixchat.errors import UsageError
from mixchat.plan.values import Override, Wishes
from mixchat.store.settings import resolve
from tests.app.conftest import MakeSettings

CONFIG = Path("config.toml")
EXPERTS = r"blk\.(0|1|2[0-9])\.ffn_(up|gate|down)_exps"


def test_nothing_asked_is_nothing_wished(settings: MakeSettings) -> None:
    assert wishes_of(settings()) == Wishes()
    assert wishes_of(settings(), force=True, extra_buffers=False, held_back=2) == Wishes(
        force=True, extra_buffers=False, held_back=2
    )


def test_every_setting_becomes_its_wish(settings: MakeSettings) -> None:
    asked = settings(
        ctx=4096,
        kv_type="q4_0",
        ubatch=256,
        load_mode="copy",
        device="CUDA1,cuda0,CUDA1",
        gpu_layers=20,
        expert_layers=0,
        experts_used=3,
        override=[f"{EXPERTS}=CPU", "output = CUDA0"],
    )
    assert wishes_of(asked) == Wishes(
        context=4096,
        kv_type="q4_0",
        ubatch=256,
        load_mode="copy",
        devices=("CUDA1", "cuda0", "CUDA1"),
        gpu_layers=20,
        expert_layers=0,
        experts_used=3,
        overrides=(Override(EXPERTS, "CPU"), Override("output ", "CUDA0")),
    )


@pytest.mark.parametrize(("text", "devices"), [("auto", None), ("AUTO", None), ("cpu", ("cpu",)), ("CPU", ("cpu",))])
def test_anywhere_and_the_cpu(settings: MakeSettings, text: str, devices: tuple[str, ...] | None) -> None:
    assert wishes_of(settings(device=text)).devices == devices


@pytest.mark.parametrize("text", ["cpu,CUDA0", "CUDA0,auto", "auto,cpu"])
def test_cpu_and_auto_stand_alone(settings: MakeSettings, text: str) -> None:
    with pytest.raises(UsageError, match=r"^--device: (cpu|auto) stands beside "):
        wishes_of(settings(device=text))


@pytest.mark.parametrize("name", ["expert_layers", "gpu_layers"])
def test_layers_on_a_gpu_contradict_the_cpu(settings: MakeSettings, name: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError) as caught:
        wishes_of(settings(device="cpu", **{name: 4}))
    assert caught.value.message == f"{flag} 4 needs a GPU, and --device asks for the CPU alone."
    assert caught.value.hint == f"Leave out {flag}, or give --device auto."
    assert getattr(wishes_of(settings(device="cpu", **{name: 0})), name) == 0


def test_a_flag_silences_the_file(settings: MakeSettings) -> None:
    flag, file = settings(device="cpu"), "expert_layers = 4"
    asked = resolve({"device": "cpu"}, {}, file, CONFIG)
    assert wishes_of(asked) == wishes_of(flag)
    with pytest.raises(UsageError, match=r"^--expert-layers 4 needs a GPU, and device in config.toml asks"):
        wishes_of(resolve({"expert_layers": 4}, {}, "device = 'cpu'", CONFIG))


@pytest.mark.parametrize(
    "pattern",
    [
        "(", "[", "a{", "a{,3}", "*", "(?P<n>a)", "(?i)a", "(?<=a)b", r"\Ablk", r"\Z", r"\p", "a++", "a?+", "[[a]",
        "a{99999999999999999999}", "(?#x)", r"a\k",
    ],
)  # fmt: skip
def test_a_pattern_that_llama_cpp_may_not_understand_is_refused(settings: MakeSettings, pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        wishes_of(settings(override=[f"{pattern}=CPU"]))
    assert caught.value.message.startswith(f"--override: {pattern!r} is no regular expression: ")
    assert "exps=CPU" in caught.value.hint


@pytest.mark.parametrize(
    "pattern", [EXPERTS, r"\.1\d\.", "(?:a|b)+c{2,3}$", r"a\{", "(?=a)(?!b)", "^blk=1", r"[^.]*\w\b"]
)
def test_a_plain_pattern_passes(settings: MakeSettings, pattern: str) -> None:
    assert wishes_of(settings(override=[f"{pattern}=CPU"])).overrides == (Override(pattern, "CPU"),)
