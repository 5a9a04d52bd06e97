from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from mixchat.app.events import Notice, Opened, OpenEvent
from mixchat.app.opening import Use, load_request, open_model
from mixchat.app.source import Format, Source, loadable, located, prompt_format
from mixchat.engine import platform
from mixchat.engine.events import DeviceInfo, Loading, LoadRequest
from mixchat.errors import BadModel, DoesNotFit, EngineDied, EngineError, NotFound, UsageError
from mixchat.gguf.header import parse_header
from mixchat.gguf.writer import text
from mixchat.plan.values import Footprint, Override
from mixchat.store.proofs import Proof
from tests.app.conftest import SOUND, MakeHouse, MakeSettings
from tests.builders import Tiny, mixtral_header, sparse_file, tiny_moe
from tests.fakes.engine import CPU, FakeEngine
from tests.fakes.plans import VRAM, mixtral, plan_of

GIB = 1 << 30
GPU = DeviceInfo("CUDA0", "A card", "gpu", 24 * GIB, 24 * GIB)
SMALL_GPU = DeviceInfo("CUDA0", "A card", "gpu", GIB, GIB)
SHARED_GPU = DeviceInfo("Vulkan0", "No memory of its own", "igpu", 24 * GIB, 24 * GIB, unified=True)
BROKEN = Proof(extra_buffers=False, reason="Its logits are off by 40% of their spread.")


OpenFile = Callable[..., list[OpenEvent]]


class Expected(NamedTuple):
    devices: tuple[str, ...]
    read_ahead: bool
    load_mode: str = "mmap"


@pytest.fixture
def open_file(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> OpenFile:
    def run(engine: FakeEngine, *, proof: Proof = SOUND, new: bool = False, **flags: object) -> list[OpenEvent]:
        house = make_house(engine, proof, new=new)
        return list(open_model(house, located(house, str(model_file)), settings(**flags)))

    return run


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    set_machine(monkeypatch, 8 * GIB)


def set_machine(monkeypatch: pytest.MonkeyPatch, ram: int) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: ram)
    monkeypatch.setattr(platform, "physical_cores", lambda: 6)


def test_a_model_is_placed_and_then_loaded(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine()
    steps: list[str] = []
    engine.on_step = steps.append
    house = make_house(engine)
    source = located(house, str(model_file))
    *progress, last = open_model(house, source, settings())
    assert steps == ["devices", "load", "load", "load"]
    assert progress == [Loading(0.0), Loading(0.5), Loading(1.0)]
    assert isinstance(last, Opened)
    assert (last.name, last.model, last.loaded.context) == ("small", source.model, 512)
    assert [last.request] == engine.loads
    assert last.request == LoadRequest(
        str(model_file),
        context=512,
        threads=6,
        ubatch=last.plan.ubatch,
        load_mode="mmap",
        extra_buffers=True,
        architecture="llama",
    )


@pytest.mark.parametrize(
    ("devices", "flags", "expected"),
    [
        ((CPU,), {}, Expected((), read_ahead=True)),
        ((CPU, GPU), {}, Expected(("CUDA0",), read_ahead=True)),
        ((CPU, GPU), {"device": "cpu"}, Expected((), read_ahead=True)),
        ((CPU, SMALL_GPU), {}, Expected((), read_ahead=True)),
        ((CPU,), {"load_mode": "copy"}, Expected((), read_ahead=False, load_mode="copy")),
        ((CPU,), {"load_mode": "mlock"}, Expected((), read_ahead=True, load_mode="mlock")),
    ],
)
def test_devices_and_wishes_decide_the_load(
    devices: tuple[DeviceInfo, ...], flags: dict[str, object], expected: Expected, open_file: OpenFile
) -> None:
    engine = FakeEngine(devices=devices)
    open_file(engine, **flags)
    (request,) = engine.loads
    assert Expected(request.devices, request.read_ahead, request.load_mode) == expected


def test_the_engine_gets_the_plan_and_nothing_else(open_file: OpenFile) -> None:
    engine = FakeEngine(devices=(CPU, GPU))
    flags = {"override": ["ffn_up_exps=CPU"], "gpu_layers": 2}
    last = open_file(engine, **flags)[-1]
    assert isinstance(last, Opened)
    (request,), plan = engine.loads, last.plan
    assert request.overrides[0] == Override("ffn_up_exps", "CPU")
    assert (request.devices, request.n_gpu_layers, request.tensor_split) == (("CUDA0",), 2, (2,))
    assert (request.overrides, request.ubatch, request.kv_type) == (plan.overrides, plan.ubatch, plan.kv_type)


def test_another_number_of_experts_is_told_and_loaded(open_file: OpenFile) -> None:
    engine = FakeEngine()
    notice, *_progress, last = open_file(engine, experts_used=3)
    assert notice == Notice(
        "Each token passes 3 instead of 2 experts: answers change, and nobody trained the model for that."
    )
    assert isinstance(last, Opened)
    assert (last.plan.experts_used, last.model.n_experts_used) == (3, 3)
    assert [(load.experts_used, load.architecture) for load in engine.loads] == [(3, "llama")]


def test_the_number_of_experts_that_it_was_trained_with_is_no_news(open_file: OpenFile) -> None:
    engine = FakeEngine()
    events = open_file(engine, experts_used=2)
    assert not any(isinstance(event, Notice) for event in events)
    assert [load.experts_used for load in engine.loads] == [None]


def test_more_experts_than_there_are_are_refused_before_loading(open_file: OpenFile) -> None:
    engine = FakeEngine()
    with pytest.raises(UsageError, match="has 4 experts per layer: 5 cannot be used"):
        open_file(engine, experts_used=5)
    assert engine.loads == []


@pytest.mark.parametrize(
    ("in_ram", "beside", "ahead"),
    [(0, 0, False), (GIB, 0, True), (GIB, GIB, True), (GIB, GIB + 1, False)],
)
def test_what_stays_in_ram_and_fits_is_read_ahead(
    in_ram: int, beside: int, ahead: bool, settings: MakeSettings
) -> None:
    model = replace(mixtral(), file_bytes=7 * GIB)
    source = Source("mixtral", Path("mixtral.gguf"), None, parse_header(mixtral_header("static/Q2_K")), model)
    plan = plan_of(Footprint(in_ram, beside), ("CUDA0", VRAM))
    assert load_request(source, plan, settings()).read_ahead == ahead


def test_flags_reach_the_load(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine()
    house = make_house(engine)
    wishes = settings(ctx=300, kv_type="q8_0", ubatch=64, threads=3)
    events = list(open_model(house, located(house, str(model_file)), wishes))
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "--ctx 300 becomes 512: llama.cpp takes multiples of 256."
    ]
    (request,) = engine.loads
    assert (request.context, request.kv_type, request.ubatch, request.threads) == (512, "q8_0", 64, 3)


def test_a_context_beyond_the_training_is_told(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    house = make_house(FakeEngine())
    events = list(open_model(house, located(house, str(model_file)), settings(ctx=1024)))
    assert any(isinstance(event, Notice) and "trained for 512 tokens" in event.text for event in events)


@pytest.mark.parametrize("new", [True, False])
def test_a_broken_build_runs_without_extra_buffers_and_says_so_once(new: bool, open_file: OpenFile) -> None:
    engine = FakeEngine()
    events = open_file(engine, proof=BROKEN, new=new)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert [BROKEN.reason in text for text in notices] == [True] * new
    assert not engine.loads[0].extra_buffers


def test_a_sound_build_is_no_news(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    house = make_house(FakeEngine(), new=True)
    events = list(open_model(house, located(house, str(model_file)), settings()))
    assert not any(isinstance(event, Notice) for event in events)


def test_what_does_not_fit_is_refused_unless_forced(
    make_house: MakeHouse, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, model_file: Path
) -> None:
    set_machine(monkeypatch, 1 << 20)
    engine = FakeEngine()
    house = make_house(engine)
    source = located(house, str(model_file))
    with pytest.raises(DoesNotFit, match="available") as refused:
        list(open_model(house, source, settings()))
    assert engine.loads == []
    assert refused.value.what == "RAM"
    assert isinstance(list(open_model(house, source, settings(), Use(force=True)))[-1], Opened)
    assert not engine.loads[0].read_ahead
    assert not engine.loads[0].extra_buffers


def test_an_interrupted_load_ends_without_opened(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine()
    house = make_house(engine)
    seen: list[object] = []
    for event in open_model(house, located(house, str(model_file)), settings()):
        seen.append(event)
        engine.interrupt()
    assert seen == [Loading(0.0)]


@pytest.mark.parametrize("step", ["devices", "load"])
def test_a_dead_engine_is_told(step: str, make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    house = make_house(FakeEngine(dies_at=step))
    with pytest.raises(EngineDied, match=step):
        list(open_model(house, located(house, str(model_file)), settings()))


def test_a_build_that_does_not_run_is_told(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    house = make_house(FakeEngine())

    def fail() -> tuple[Proof, bool]:
        raise EngineError("This build does not run.", "Reinstall it.")

    broken = type(house)(house.places, house.registry, house.engine, fail)
    with pytest.raises(EngineError, match="does not run"):
        list(open_model(broken, located(house, str(model_file)), settings()))


def test_the_legacy_layout_is_refused_by_its_header(
    make_house: MakeHouse, settings: MakeSettings, tmp_path: Path
) -> None:
    engine = FakeEngine()
    steps: list[str] = []
    engine.on_step = steps.append
    house = make_house(engine)
    path = sparse_file(tmp_path / "old.gguf", mixtral_header("thebloke-legacy/Q4_K_M"))
    source = located(house, str(path))
    with pytest.raises(BadModel, match="tensor of its own") as refused:
        list(open_model(house, source, settings()))
    assert refused.value.exit_code == 5
    assert "Mixtral-8x7B-Instruct-v0.1.Q4_K_M.gguf" in refused.value.hint
    assert steps == []
    with pytest.raises(BadModel):
        loadable(source)


def test_the_header_says_how_the_prompt_is_written(
    make_house: MakeHouse, model_file: Path, chatml_form: Format
) -> None:
    assert prompt_format(located(make_house(FakeEngine()), str(model_file))) == chatml_form


def test_a_header_without_tokens_has_no_markup(make_house: MakeHouse, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "base.gguf", mixtral_header("static/Q2_K"))
    with pytest.raises(BadModel, match="base model"):
        prompt_format(located(make_house(FakeEngine()), str(path)))


@pytest.mark.parametrize(
    ("reference", "error"),
    [("none.gguf", NotFound), ("mixtral", NotFound), ("nosuch", NotFound), (" ", UsageError), ("hf:a/b:Q4", NotFound)],
)
def test_models_that_are_not_here(
    reference: str, error: type[Exception], make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        located(make_house(FakeEngine()), reference)


def test_a_header_without_token_types_has_no_control_tokens(make_house: MakeHouse, tmp_path: Path) -> None:
    extra = {"tokenizer.chat_template": text("a template"), "tokenizer.ggml.token_type": text("damaged")}
    path = tiny_moe(tmp_path / "a.gguf", Tiny(layers=1), extra=extra)
    found = prompt_format(located(make_house(FakeEngine()), str(path)))
    assert (found.bos, found.eos, found.control_tokens) == ("", "", ())
