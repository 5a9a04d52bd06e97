"""What llama.cpp's own fitting would choose: `common/fit.cpp` (as of llama-cpp-python 0.3.36), told again for tests.

Its steps: everything with a margin of 1 GiB, else all routed experts in RAM and as many such layers as fit, from the
back; then whole layers from the front, and of one more layer the up experts, then gate too. It measures memory by
building the graph; here it uses the same arithmetic as the plan, so that only the choice differs. It changes neither KV
type nor ubatch nor load mode, knows no time, and takes RAM for endless.

    python -m tests.plan.fit_reference

prints where and by how much the plan differs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mixchat.gguf.model import MoeModel
from mixchat.plan.emit import overrides_of
from mixchat.plan.forecast import Costs
from mixchat.plan.layout import Layout
from mixchat.plan.modes import drafts
from mixchat.plan.pinned import pin
from mixchat.plan.place import ANSWER, DEPTH, PROMPT, place
from mixchat.plan.site import Site
from mixchat.plan.values import CPU, GPU_MARGIN, Machine, Placement, Plan, Wishes
from tests.plan.machines import GIB, machine, mixtral

KEPT = {"full": ("up", "gate", "down"), "gate": ("up", "gate"), "up": ("up",), "moe": ()}
"""Parts of a layer's experts that stay with it, by what overflows: nothing, down, gate and down, all."""


@dataclass
class Slice:
    """A device's layers: of `layers` the last `part` lack experts, the first of those what `overflow` says."""

    layers: int = 0
    part: int = 0
    overflow: str = "moe"


def fit(model: MoeModel, there: Machine, context: int) -> Plan:
    """llama.cpp's choice, as a plan with its forecast."""
    wishes = Wishes(load_mode="mmap", force=True)
    site = Site(model, pin(model, there, ()), there.gpus, GPU_MARGIN, context, "f16", 512)
    layout = _layout(site, _slices(site))
    draft = drafts(site, layout, there, wishes)[0]
    forecast = Costs(model, there, "f16", min(DEPTH, context // 2)).forecast(draft)
    return replace(draft, forecast=forecast, overrides=overrides_of(model, layout.layers))


def _slices(site: Site) -> list[Slice]:
    count, devices = site.whole.n_layers, len(site.gpus)
    total = sum(gpu.free for gpu in site.gpus)
    ends = [round((count + 1) * sum(gpu.free for gpu in site.gpus[: n + 1]) / total) for n in range(devices)]
    everything = [Slice(end - start) for start, end in zip([0, *ends], ends, strict=False)]
    if _all_fit(site, everything):
        return everything
    slices = [Slice() for _ in range(devices)]
    for device in reversed(range(devices)):
        _fill_dense(site, slices, device)
    if site.whole.n_experts and sum(each.layers for each in slices) == count + 1:
        for device in range(devices):
            _fill_whole(site, slices, device)
            _fill_part(site, slices, device)
    return slices


def _fill_dense(site: Site, slices: list[Slice], device: int) -> None:
    last = device == len(slices) - 1
    while sum(each.layers for each in slices) <= site.whole.n_layers:
        before = replace(slices[device])
        slices[device].layers += 1
        slices[device].part = slices[device].layers - last if site.whole.n_experts else 0
        if not _fits(site, slices, device):
            slices[device] = before
            return


def _fill_whole(site: Site, slices: list[Slice], device: int) -> None:
    """Take dense-only layers from the back of the line and make them whole here."""
    while (donor := _donor(slices, device)) is not None:
        before = [replace(each) for each in slices]
        slices[donor].layers -= 1
        slices[donor].part -= 1
        slices[device].layers += 1
        if not _fits(site, slices, device):
            slices[:] = before
            return


def _fill_part(site: Site, slices: list[Slice], device: int) -> None:
    for overflow in ("up", "gate"):
        before = [replace(each) for each in slices]
        donor = _donor(slices, device)
        if overflow == "up":
            if donor is None:
                return
            slices[donor].layers -= 1
            slices[donor].part -= 1
            slices[device].layers += 1
            slices[device].part += 1
        slices[device].overflow = overflow
        if not all(_fits(site, slices, each) for each in (device, min(device + 1, len(slices) - 1))):
            slices[:] = before
            return


def _donor(slices: list[Slice], device: int) -> int | None:
    return next((n for n in range(device, len(slices)) if slices[n].part > (slices[n].overflow != "moe")), None)


def _spread(site: Site, slices: list[Slice]) -> Iterator[tuple[int, int, str, str]]:
    """Each layer on a GPU: device, layer, what overflows, and where to."""
    layer = site.whole.n_layers + 1 - sum(each.layers for each in slices)
    for device, each in enumerate(slices):
        for number in range(each.layers):
            part = number - (each.layers - each.part)
            last = device == len(slices) - 1
            moe = layer < site.whole.n_layers
            if last and each.part and not moe:
                part = -1
            elif last and each.part:
                part = number - (each.layers - 1 - each.part)
            overflow = "full" if part < 0 else each.overflow if part == 0 else "moe"
            target = site.gpus[device + 1].name if part == 0 and not last and each.overflow != "moe" else CPU
            yield device, layer, overflow, target
            layer += 1


def _all_fit(site: Site, slices: list[Slice]) -> bool:
    return all(_fits(site, slices, device) for device in range(len(slices)))


def _fits(site: Site, slices: list[Slice], device: int) -> bool:
    layout = _layout(site, slices)
    return layout.held[device] + layout.compute[device] <= site.budget(site.gpus[device])


def _layout(site: Site, slices: list[Slice]) -> Layout:
    count, model = site.whole.n_layers, site.whole
    names = [gpu.name for gpu in site.gpus]
    layers = [Placement(index, CPU, CPU, CPU, CPU) for index in range(count)]
    held, most, head = [0] * len(names), [0] * len(names), CPU
    for device, layer, overflow, target in _spread(site, slices):
        if layer == count:
            held[device] += site.head
            head = names[device]
            continue
        at = {part: names[device] if part in KEPT[overflow] else target for part in ("up", "gate", "down")}
        layers[layer] = Placement(layer, names[device], **at)
        held[device] += model.layers[layer].dense + site.kv[layer]
        for part, name in at.items():
            if name != CPU:
                held[names.index(name)] += getattr(model.layers[layer], part)
        for index, name in enumerate(names):
            most[index] = max(most[index], sum(place == name for place in at.values()))
    rest = any(CPU in {layer.up, layer.gate, layer.down} for layer in layers if model.layers[layer.index].experts)
    bins = site.bins(experts_on_cpu=rest)
    compute = tuple(bin_.compute[parts] if size else 0 for bin_, parts, size in zip(bins, most, held, strict=True))
    split = tuple(each.layers for each in slices)
    return Layout(tuple(layers), head, count + 1 - sum(split), split, tuple(held), compute)


def exchange(plan: Plan) -> float:
    """Seconds of 1024 tokens of prompt and 256 of answer."""
    assert plan.forecast is not None
    return PROMPT / plan.forecast.prefill_tps + ANSWER / plan.forecast.decode_tps


def _why(ours: Plan, theirs: Plan) -> str:
    reasons = []
    if ours.kv_type != theirs.kv_type:
        reasons.append(f"KV {ours.kv_type}")
    if ours.ubatch != theirs.ubatch:
        reasons.append(f"ubatch {ours.ubatch}")
    if ours.load_mode != theirs.load_mode:
        reasons.append(f"load mode {ours.load_mode}")
    if not ours.on_gpu and theirs.on_gpu:
        reasons.append("a split would be slower")
    return ", ".join(reasons) or "the same"


def main() -> None:
    print("| quantization | VRAM GiB | expert layers fit / plan | seconds fit / plan | differs by |")  # noqa: T201
    print("|---|---|---|---|---|")  # noqa: T201
    for quant in ("static/Q3_K_M", "static/Q4_K_M", "static/Q8_0"):
        for vram in ((2,), (4,), (6,), (8,), (12,), (16,), (24,), (48,), (80,), (12, 12), (24, 8)):
            there = machine(128 * GIB, *(size * GIB for size in vram))
            ours, theirs = place(mixtral(quant), there, Wishes(context=8192)), fit(mixtral(quant), there, 8192)
            layers = f"{theirs.expert_layers} / {ours.expert_layers}"
            times = f"{exchange(theirs):.1f} / {exchange(ours):.1f}"
            sizes = " + ".join(map(str, vram))
            print(f"| {quant.split('/')[1]} | {sizes} | {layers} | {times} | {_why(ours, theirs)} |")  # noqa: T201


if __name__ == "__main__":
    main()
