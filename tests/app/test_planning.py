from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.events import Making, Notice
from mixchat.app.house import House
from mixchat.app.planning import Asked, Planned, Quantization, compare, plan_model
from mixchat.app.what_if import Case, what_ifs
from mixchat.engine import platform
from mixchat.engine.events import DeviceInfo
from mixchat.errors import BadModel, DoesNotFit, NetworkError, NotFound, UsageError
from mixchat.models.registry import load_registry
from mixchat.plan.place import place
from mixchat.plan.values import CPU as RAM
from mixchat.plan.values import Machine, Wishes
from mixchat.store.places import Places
from tests.app.conftest import MakeHouse, MakeSettings
from tests.app.test_catalogue import install
from tests.builders import mixtral_header, sparse_file
from tests.fakes.engine import CPU, FakeEngine
from tests.fakes.shelf import ShelfHub
from tests.plan.machines import dense, machine, mixtral

GIB = 1 << 30
STATIC = "mradermacher/Mixtral-8x7B-Instruct-v0.1-GGUF"
GPU = DeviceInfo("CUDA0", "A card", "gpu", 12 * GIB, 12 * GIB)
FILES = {entry.quantization: entry for entry in load_registry().entries["mixtral"].files}
QUANTS = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0")


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: 32 * GIB)
    monkeypatch.setattr("mixchat.app.preflight.free_bytes", lambda _folder: 100 * GIB)


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    return sparse_file(tmp_path / "m.gguf", mixtral_header("static/Q4_K_M"))


@pytest.fixture
def hub() -> ShelfHub:
    hub = ShelfHub()
    for quant in QUANTS:
        hub.add(STATIC, FILES[quant].file, mixtral_header(f"static/{quant}"))
    return hub


@pytest.fixture
def house(make_house: MakeHouse, hub: ShelfHub) -> House:
    """A card of 12 GiB; the registry's Mixtral has five quantizations."""
    house = replace(make_house(FakeEngine(devices=(GPU, CPU))), hub=hub)
    entry = replace(house.registry.entries["mixtral"], files=tuple(FILES[quant] for quant in QUANTS))
    return replace(house, registry=replace(house.registry, entries={"mixtral": entry}))


def ended(events: Iterator[object]) -> Planned:
    *_, last = events
    assert isinstance(last, Planned)
    return last


def test_a_file_is_planned_by_its_header(house: House, settings: MakeSettings, mixture: Path, hub: ShelfHub) -> None:
    planned = ended(plan_model(house, settings(), Asked(str(mixture))))
    assert (planned.name, planned.path, planned.problem) == ("m", mixture, None)
    assert 0 < planned.plan.expert_layers < 32
    assert planned.plan.forecast is not None
    assert planned.plan.forecast.basis == "estimated"
    assert isinstance(house.engine, FakeEngine)
    assert (house.engine.loads, hub.read, hub.asked) == ([], {}, [])


def test_settings_and_speeds_are_wishes(house: House, settings: MakeSettings, mixture: Path) -> None:
    asked = settings(vram="24GiB,8GiB", ram="64GiB", ctx=4096, kv_type="q8_0", expert_layers=5)
    planned = ended(plan_model(house, asked, Asked(str(mixture), (60 * 10**9, 900 * 10**9))))
    plan = planned.plan
    assert (plan.context, plan.kv_type, plan.expert_layers) == (4096, "q8_0", 5)
    assert {share.device for share in plan.shares} <= {"GPU0", "GPU1", RAM}
    assert plan.forecast is not None


def test_another_number_of_experts_changes_model_speed_and_reasons(
    house: House, settings: MakeSettings, mixture: Path
) -> None:
    usual = ended(plan_model(house, settings(device="cpu"), Asked(str(mixture))))
    planned = ended(plan_model(house, settings(device="cpu", experts_used=1), Asked(str(mixture))))
    assert (usual.model.n_experts_used, planned.model.n_experts_used) == (2, 1)
    assert planned.plan.forecast is not None
    assert usual.plan.forecast is not None
    assert planned.plan.forecast.decode_tps > 1.5 * usual.plan.forecast.decode_tps
    assert any(reason.startswith("Each token passes 1 instead of 2 experts") for reason in planned.plan.reasons)


def test_what_does_not_fit_has_a_reason_and_a_plan_all_the_same(
    house: House, settings: MakeSettings, mixture: Path
) -> None:
    planned = ended(plan_model(house, settings(device="cpu", ram="10GiB"), Asked(str(mixture))))
    assert isinstance(planned.problem, DoesNotFit)
    assert planned.problem.exit_code == 3
    assert planned.plan.shares[-1].footprint.total > planned.plan.shares[-1].budget
    assert [what.change for what in planned.what_ifs] == []
    more = ended(plan_model(house, settings(device="cpu", ram="20GiB"), Asked(str(mixture))))
    assert [what.change for what in more.what_ifs] == ["16 GiB more RAM"]
    assert more.what_ifs[0].effect.startswith("fits; decode ")


def test_a_remote_model_is_planned_by_its_header(house: House, settings: MakeSettings, hub: ShelfHub) -> None:
    planned = ended(plan_model(house, settings(), Asked("mixtral:Q4_K_M")))
    assert (planned.name, planned.path, planned.problem) == ("mixtral:Q4_K_M", None, None)
    assert planned.model.quantization == "Q4_K_M"
    assert set(hub.read) == {FILES[quant].file for quant in ("Q3_K_M", "Q4_K_M", "Q5_K_M")}
    assert max(hub.read.values()) == 8 << 20
    changes = {what.change: what.effect for what in planned.what_ifs}
    smaller = changes["Q3_K_M, smaller (21.0 GiB of weights)"]
    assert "layers' experts in VRAM, decode " in smaller
    assert any(change.startswith("Q5_K_M, larger") for change in changes)


def test_without_a_quantization_the_best_is_planned(house: House, settings: MakeSettings) -> None:
    assert ended(plan_model(house, settings(), Asked("mixtral"))).name == "mixtral:Q5_K_M"
    asked = settings(vram="24GiB,24GiB", ram="64GiB")
    assert ended(plan_model(house, asked, Asked("mixtral"))).name == "mixtral:Q8_0"


def test_a_full_disk_is_told_and_no_reason_against_a_plan(
    house: House, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixchat.app.preflight.free_bytes", lambda _folder: GIB)
    *others, planned = plan_model(house, settings(), Asked("mixtral:Q4_K_M"))
    assert isinstance(planned, Planned)
    assert planned.problem is None
    assert [isinstance(each, Notice) and "are free on the disk" in each.text for each in others] == [True]


def test_legacy_files_are_refused(house: House, settings: MakeSettings, hub: ShelfHub, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "old.gguf", mixtral_header("thebloke-legacy/Q4_K_M"))
    hub.add("o/old", "old-Q4_K_M.gguf", mixtral_header("thebloke-legacy/Q4_K_M"))
    for reference in (str(path), "hf:o/old:Q4_K_M"):
        with pytest.raises(BadModel, match="legacy"):
            ended(plan_model(house, settings(), Asked(reference)))


@pytest.mark.parametrize(
    "flags",
    [
        {"device": "CUDA7"},
        {"override": ["ffn=CUDA7"]},
        {"override": ["nosuchtensor=CPU"]},
        {"override": ["(=CPU"]},
        {"device": "cpu", "expert_layers": 3},
    ],
)
def test_impossible_wishes(house: House, settings: MakeSettings, mixture: Path, flags: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ended(plan_model(house, settings(**flags), Asked(str(mixture))))


def test_a_model_of_nobody(house: House, settings: MakeSettings) -> None:
    with pytest.raises(NotFound):
        ended(plan_model(house, settings(), Asked("nosuch")))


def test_of_a_model_that_is_here_only_what_is_here_is_compared(
    house: House, settings: MakeSettings, places: Places, hub: ShelfHub
) -> None:
    for quant in ("Q2_K", "Q4_K_M"):
        path = install(places, f"mixtral-{quant}", b"")
        path.rename(path.with_name(FILES[quant].file))
        sparse_file(path.with_name(FILES[quant].file), mixtral_header(f"static/{quant}"))
        record = path.with_name("model.json")
        record.write_text(record.read_text().replace(path.name, FILES[quant].file))
    planned = ended(plan_model(house, settings(), Asked("mixtral:Q4_K_M")))
    assert planned.path is not None
    quants = [what.change for what in planned.what_ifs if "of weights" in what.change]
    assert quants == ["Q2_K, smaller (16.1 GiB of weights)"]
    assert (hub.read, hub.asked) == ({}, [])


def rows(events: Iterator[object]) -> dict[str, Quantization]:
    return {each.quantization: each for each in events if isinstance(each, Quantization)}


def test_all_quantizations_are_compared(house: House, settings: MakeSettings) -> None:
    found = rows(compare(house, settings(), Asked("mixtral")))
    assert list(found) == ["Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"]
    assert isinstance(found["Q8_0"].problem, DoesNotFit)
    assert found["Q8_0"].plan is None
    layers = [row.plan.expert_layers for row in found.values() if row.plan]
    assert layers == sorted(layers)
    assert all(row.plan is None or row.plan.forecast for row in found.values())
    assert found["Q4_K_M"].nbytes == 28448468384


def test_what_cannot_be_read_stays_in_the_comparison(
    house: House, settings: MakeSettings, hub: ShelfHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = hub.head
    asked: list[str] = []

    def fails(file, nbytes, offset=0):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        asked.append(file.path)
        if "Q3_K_M" in file.path:
            raise NetworkError("The hub is gone.", "Try again.")
        if "Q4_K_M" in file.path:
            return b"<!doctype html>".ljust(nbytes)
        return head(file, nbytes, offset)

    monkeypatch.setattr(hub, "head", fails)
    found = rows(compare(house, settings(), Asked("mixtral:Q5_K_M")))
    assert isinstance(found["Q4_K_M"].problem, BadModel)
    assert isinstance(found["Q3_K_M"].problem, NetworkError)
    assert found["Q2_K"].problem is found["Q3_K_M"].problem
    assert not any("Q2_K" in path for path in asked)
    assert found["Q5_K_M"].plan is not None


def test_a_file_of_nobody_has_no_other_quantizations(house: House, settings: MakeSettings, mixture: Path) -> None:
    with pytest.raises(UsageError, match="other quantizations of m"):
        rows(compare(house, settings(), Asked(str(mixture))))


def test_files_of_a_repository_are_compared_too(house: House, settings: MakeSettings) -> None:
    reference = f"hf:{STATIC}/{FILES['Q2_K'].file}"
    assert len(rows(compare(house, settings(), Asked(reference)))) == 5


def test_the_demo_is_made_first(
    make_house: MakeHouse, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, model_file: Path
) -> None:
    from mixchat.models.library import Record, write_record

    def make(at: Places, entry: object) -> Iterator[float]:  # noqa: ARG001
        (at.models / "demo").mkdir(parents=True)
        (at.models / "demo" / "a.gguf").symlink_to(model_file)
        write_record(at, Record("demo", "a.gguf", 1, "0" * 64, "a test", "now"))
        yield 1.0

    monkeypatch.setattr("mixchat.app.source.make_demo", make)
    events = list(plan_model(make_house(FakeEngine()), settings(), Asked("demo")))
    assert events[0] == Making(1.0)
    assert ended(iter(events)).name == "demo"


def changes(case: Case, *others: object) -> dict[str, str]:
    try:
        plan = place(case.model, case.machine, case.wishes)
    except DoesNotFit:
        plan = None
    return {what.change: what.effect for what in what_ifs(case, plan, others)}  # type: ignore[arg-type]


def test_what_changes_bring_on_a_card() -> None:
    found = changes(Case(mixtral(), machine(64 * GIB, 12 * GIB), Wishes(kv_type="f16", context=8192)))
    assert list(found)[:3] == [
        "half the context (4096 tokens)",
        "twice the context (16384 tokens)",
        "a KV cache in q8_0",
    ]
    assert all(" instead of " in effect for effect in found.values())
    more = found["8 GiB more VRAM on CUDA0"]
    before, after = more.split()[3], more.split()[0]
    assert int(after) > int(before)
    assert "decode" in more
    assert "16 GiB more RAM" not in found


def test_a_change_may_not_fit() -> None:
    model = mixtral()
    tight = Machine(machine(30 * GIB).devices, 30 * GIB)
    found = changes(Case(model, tight, Wishes(kv_type="f16", context=16384, devices=("cpu",))))
    assert found["twice the context (32768 tokens)"].startswith("does not fit: ")
    assert found["twice the context (32768 tokens)"].endswith(" of RAM are missing")


def test_without_a_gpu_one_is_imagined() -> None:
    assert "a GPU with 8 GiB, taken for a fast one" in changes(Case(mixtral(), machine(64 * GIB), Wishes()))
    assert "a GPU with 8 GiB, taken for a fast one" not in changes(
        Case(mixtral(), machine(64 * GIB), Wishes(devices=("cpu",)))
    )


def test_contexts_beyond_the_training_are_no_change() -> None:
    case = Case(mixtral(), machine(64 * GIB, 12 * GIB), Wishes(context=32768))
    assert not any(change.startswith("twice") for change in changes(case))


def test_a_budget_grows_with_the_card() -> None:
    limited = machine(64 * GIB, 24 * GIB)
    limited = replace(limited, devices=(replace(limited.devices[0], budget=8 * GIB), limited.devices[1]))
    assert "8 GiB more VRAM on CUDA0" in changes(Case(mixtral(), limited, Wishes()))


def test_whole_layers_are_counted_too() -> None:
    found = changes(Case(dense(), machine(64 * GIB, 3 * GIB), Wishes(kv_type="f16", context=8192)))
    assert "instead of" in found["8 GiB more VRAM on CUDA0"]


def test_shared_memory_is_not_sold_apart() -> None:
    shared = machine(64 * GIB, 24 * GIB)
    shared = replace(shared, devices=(replace(shared.devices[0], unified=True), shared.devices[1]))
    assert not any("VRAM on" in change or "a GPU" in change for change in changes(Case(mixtral(), shared, Wishes())))
