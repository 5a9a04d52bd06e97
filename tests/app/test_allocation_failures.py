"""What happens when a device has no room for what was planned, and when it holds something else than was planned."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mixchat.app import opening
from mixchat.app.events import Notice, Opened, OpenEvent
from mixchat.app.house import House
from mixchat.app.opening import MOST_RETRIES, Use, open_model
from mixchat.app.source import located
from mixchat.engine import platform
from mixchat.engine.events import BufferSize, DeviceInfo, Loaded, Loading, LoadRequest
from mixchat.errors import AllocationFailed
from mixchat.gguf.model import MoeModel
from mixchat.plan.place import place
from mixchat.plan.values import Machine, Plan, Wishes
from tests.app.conftest import MakeHouse, MakeSettings
from tests.builders import Tiny, tiny_moe
from tests.fakes.engine import CPU, FakeEngine

GIB = 1 << 30
LAYERS = 6


class FullCard(FakeEngine):
    """Its GPU refuses the first loads, and reports these buffers for the one that works.

    Attributes:
        refusals: How many loads fail.
        device: What is said to be full.
    """

    def __init__(self, refusals: int = 0, device: str = "CUDA0", buffers: tuple[BufferSize, ...] = ()) -> None:
        super().__init__()
        self.refusals = refusals
        self.device = device
        self.free = 24 * GIB
        self._buffers = buffers

    def devices(self, rpc: object = ()) -> tuple[DeviceInfo, ...]:  # noqa: ARG002
        self._step("devices")
        return CPU, DeviceInfo("CUDA0", "A card", "gpu", self.free, 24 * GIB)

    def load(self, request: LoadRequest) -> Iterator[Loading | Loaded]:
        for event in super().load(request):
            if isinstance(event, Loaded):
                yield Loaded(event.context, self._buffers, event.load_ms)
            else:
                yield event
                if self.refusals:
                    self.refusals -= 1
                    raise AllocationFailed(f"{self.device} has no room for the weights.", "Look.", self.device)


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: 8 * GIB)
    monkeypatch.setattr(platform, "physical_cores", lambda: 6)


@pytest.fixture(scope="module")
def six_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_moe(tmp_path_factory.mktemp("moe") / "six.gguf", Tiny(layers=LAYERS))


Open = Callable[..., list[OpenEvent]]


@pytest.fixture
def run(make_house: MakeHouse, settings: MakeSettings, six_layers: Path) -> Open:
    def open_(
        engine: FakeEngine, when: datetime | None = None, before: Plan | None = None, **flags: object
    ) -> list[OpenEvent]:
        house = make_house(engine)
        if when is not None:
            house = House(house.places, house.registry, house.engine, house.prove, now=lambda: when)
        return list(open_model(house, located(house, str(six_layers)), settings(**flags), Use(before=before)))

    return open_


def notices(events: list[OpenEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def plan_in(events: list[OpenEvent]) -> Plan:
    assert isinstance(events[-1], Opened)
    return events[-1].plan


def test_one_layers_experts_move_to_ram_each_time(run: Open) -> None:
    engine = FullCard(refusals=2)
    events = run(engine)
    assert plan_in(events).expert_layers == LAYERS - 2
    assert [request.overrides != () for request in engine.loads] == [False, True, True]
    assert len({request.overrides for request in engine.loads}) == 3
    assert (
        notices(events)
        == ["CUDA0 has no room for the weights. The experts of 1 layer move to RAM and it is loaded again."] * 2
    )


def test_what_worked_is_where_the_next_start_begins(run: Open) -> None:
    run(FullCard(refusals=2))
    engine = FullCard()
    events = run(engine)
    assert len(engine.loads) == 1
    assert plan_in(events).expert_layers == LAYERS - 2
    assert notices(events) == [
        "2 layers less than would fit by the arithmetic: more had no room on the GPU when this was loaded before."
    ]
    again = FullCard(refusals=1)
    assert plan_in(run(again)).expert_layers == LAYERS - 3
    assert plan_in(run(FullCard())).expert_layers == LAYERS - 3


def test_another_context_and_numbers_by_hand_are_another_matter(run: Open) -> None:
    run(FullCard(refusals=2))
    assert plan_in(run(FullCard(), ctx=256)).expert_layers == LAYERS
    assert plan_in(run(FullCard(), kv_type="q8_0")).expert_layers == LAYERS
    assert plan_in(run(FullCard(), expert_layers=LAYERS)).expert_layers == LAYERS
    assert plan_in(run(FullCard(), vram="20GiB")).expert_layers == LAYERS
    assert plan_in(run(FullCard(), experts_used=1)).expert_layers == LAYERS


def test_a_failure_is_forgotten_after_30_days(run: Open) -> None:
    start = datetime(2026, 11, 2, tzinfo=UTC)
    run(FullCard(refusals=1), when=start)
    assert plan_in(run(FullCard(), when=start + timedelta(days=29))).expert_layers == LAYERS - 1
    assert plan_in(run(FullCard(), when=start + timedelta(days=31))).expert_layers == LAYERS


def test_it_is_given_up_after_four_layers(run: Open) -> None:
    engine = FullCard(refusals=100)
    with pytest.raises(AllocationFailed, match="after 4 layers had moved to RAM") as failed:
        run(engine)
    assert len(engine.loads) == MOST_RETRIES + 1
    assert failed.value.exit_code == 6
    assert failed.value.device == "CUDA0"
    assert "--ctx 256" in failed.value.hint
    assert "--vram" in failed.value.hint
    assert plan_in(run(FullCard())).expert_layers == LAYERS, "what never worked is not remembered"


@pytest.mark.parametrize("device", ["CPU", "CUDA_Host"])
def test_ram_that_is_full_is_no_reason_to_fill_it_more(device: str, run: Open) -> None:
    engine = FullCard(refusals=1, device=device)
    with pytest.raises(AllocationFailed, match=f"{device} has no room"):
        run(engine)
    assert len(engine.loads) == 1


def test_on_the_cpu_alone_there_is_nothing_to_move(run: Open) -> None:
    engine = FullCard(refusals=1, device="CPU")
    with pytest.raises(AllocationFailed) as failed:
        run(engine, device="cpu")
    assert failed.value.hint == "Give less context: --ctx 256; or use a smaller quantization."


def test_room_that_a_layer_leaves_is_not_filled_again(
    make_house: MakeHouse, settings: MakeSettings, tmp_path: Path
) -> None:
    """Nobody asked for a context, so the plan's grows with the room that there is."""
    path = tiny_moe(tmp_path / "long.gguf", Tiny(layers=LAYERS, context=32768))
    engine = FullCard(refusals=1)
    engine.free = GIB + 40 * 2**20
    house = make_house(engine)
    events = list(open_model(house, located(house, str(path)), settings()))
    first, second = engine.loads
    assert plan_in(events).on_gpu
    assert (second.context, second.kv_type, second.ubatch) == (first.context, first.kv_type, first.ubatch)
    again = FullCard()
    again.free = engine.free
    house = make_house(again)
    assert plan_in(list(open_model(house, located(house, str(path)), settings()))) == plan_in(events)


def test_ram_that_has_no_room_for_a_layer_ends_it(run: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FullCard(refusals=1)

    def shrink(step: str) -> None:
        if step == "load":
            monkeypatch.setattr(platform, "ram_available", lambda: 0)

    engine.on_step = shrink
    with pytest.raises(AllocationFailed, match="CUDA0 has no room for the weights"):
        run(engine)
    assert len(engine.loads) == 1


def test_numbers_by_hand_move_a_layer_too(run: Open) -> None:
    engine = FullCard(refusals=1)
    assert plan_in(run(engine, expert_layers=4)).expert_layers == 3


def test_what_does_not_change_is_not_tried_again(run: Open) -> None:
    engine = FullCard(refusals=100)
    with pytest.raises(AllocationFailed):
        run(engine, expert_layers=1)
    assert len(engine.loads) == 2


def test_a_smaller_kv_cache_is_announced(run: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def smaller(model: MoeModel, machine: Machine, wishes: Wishes) -> Plan:
        return replace(place(model, machine, wishes), kv_type=wishes.kv_type or "q8_0")

    monkeypatch.setattr(opening, "place", smaller)
    text = "The KV cache is q8_0, about half as large as f16; --kv-type f16 keeps it exact."
    assert notices(run(FullCard())) == [text]
    assert notices(run(FullCard(), kv_type="q8_0")) == []


def test_whole_layers_move_where_no_experts_are_on_the_card(run: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_layers(model: MoeModel, machine: Machine, wishes: Wishes) -> Plan:
        plan = place(model, machine, replace(wishes, held_back=0, expert_layers=0))
        return replace(plan, n_gpu_layers=LAYERS + 1 - wishes.held_back, head=f"{wishes.held_back}")

    monkeypatch.setattr(opening, "place", by_layers)
    events = run(FullCard(refusals=2))
    assert notices(events) == ["CUDA0 has no room for the weights. 1 layer moves to RAM and it is loaded again."] * 2


def test_the_gpu_that_is_not_named_is_meant(run: Open) -> None:
    assert plan_in(run(FullCard(refusals=1, device=""))).expert_layers == LAYERS - 1


def test_the_devices_are_asked_again_before_each_load(run: Open) -> None:
    engine = FullCard(refusals=1)
    steps: list[str] = []
    engine.on_step = steps.append
    run(engine)
    assert steps == ["devices", "load", "devices", "load", "load", "load"]


def test_memory_that_changed_since_the_last_load_is_told(run: Open) -> None:
    engine = FullCard()
    before = plan_in(run(engine))
    assert notices(run(engine, before=before)) == []
    engine.free = GIB + 12 * 2**20
    events = run(engine, before=before)
    now = plan_in(events)
    assert now.expert_layers < LAYERS
    (text,) = notices(events)
    assert text == (
        f"The memory that is free has changed: {now.expert_layers} layers with their experts in VRAM now, "
        f"{LAYERS} the last time."
    )


def test_a_device_that_holds_something_else_is_told(run: Open) -> None:
    surprise = BufferSize("CUDA0", "compute", GIB)
    events = run(FullCard(buffers=(surprise,)))
    (text,) = (text for text in notices(events) if "CUDA0 holds" in text)
    assert text.startswith("Not as planned: CUDA0 holds 1.0 GiB where ")
    assert "compute buffers 1.0 GiB instead of" in text
    assert isinstance(events[-1], Opened)
