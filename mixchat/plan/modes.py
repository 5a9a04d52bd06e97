"""Ways to bring a layout's weights into memory that the RAM can hold.

Knows what lies in RAM, load modes and llama.cpp's extra buffers (repacked, private copies of the CPU's weights);
refuses to know how the layout came about and how fast it is.
"""

from collections.abc import Iterator
from dataclasses import replace

from mixchat.plan.compute import cpu_compute
from mixchat.plan.layout import Layout
from mixchat.plan.site import Site
from mixchat.plan.tracing import with_trace
from mixchat.plan.values import CPU, Footprint, LoadMode, Machine, Plan, Share, Wishes

RAM_RESERVE = 512 << 20
"""Bytes of RAM that stay free: for the processes' own code, and for what others take meanwhile."""


def drafts(site: Site, layout: Layout, machine: Machine, wishes: Wishes) -> tuple[Plan, ...]:
    """With and without extra buffers, a plan with the best load mode that fits; forced, the smallest at least."""
    gpus = _gpu_shares(site, layout)
    shares = (*gpus, _cpu_share(site, layout, machine, gpus))
    modes = tuple(_modes(site, layout, wishes))
    copies = _copies(site, layout, machine) if any(extra and mode != "copy" for mode, extra in modes) else 0
    plans = tuple(
        _plan(site, layout, _with_copies(shares, copies if extra and mode != "copy" else 0), (mode, extra))
        for mode, extra in modes
    )
    fitting: dict[bool, Plan] = {}
    for plan in plans:
        if ram_short_by(site, plan) <= 0 and all(share.footprint.total <= share.budget for share in plan.shares[:-1]):
            fitting.setdefault(plan.extra_buffers, plan)
    return tuple(fitting.values()) if fitting or not wishes.force else plans[-1:]


def ram_short_by(site: Site, plan: Plan) -> int:
    """Bytes that the RAM lacks for a plan; 0 or less: it fits."""
    unified = {gpu.name for gpu in site.gpus if gpu.unified}
    needed = sum(share.footprint.total for share in plan.shares if share.kind == "cpu" or share.device in unified)
    return needed - plan.shares[-1].budget


def streams(site: Site, layout: Layout) -> bool:
    """Whether prompts copy experts from RAM to a GPU."""
    return layout.n_gpu_layers > 0 and any(site.streams(gpu) for gpu in site.gpus) and _experts_on_cpu(layout)


def _experts_on_cpu(layout: Layout) -> bool:
    return any(CPU in {layer.up, layer.gate, layer.down} for layer in layout.layers)


def _modes(site: Site, layout: Layout, wishes: Wishes) -> Iterator[tuple[LoadMode, bool]]:
    """Faster ones first, and last the one that needs least RAM.

    Extra buffers are of no use to weights that prompts copy to a GPU; these travel twice as fast from pinned memory,
    which is what `copy` gives. Mapped, the repacked weights are in RAM twice, copied once.
    """
    asked = wishes.load_mode
    streaming = streams(site, layout)
    if wishes.extra_buffers and not streaming and (layout.n_gpu_layers == 0 or _experts_on_cpu(layout)):
        mapped: tuple[LoadMode, ...] = ("mmap", "copy")
        yield from ((mode, True) for mode in (mapped if asked is None else (asked,)))
    plain: tuple[LoadMode, ...] = ("copy", "mmap") if streaming else ("mmap",)
    yield from ((mode, False) for mode in (plain if asked is None else (asked,)))


def _gpu_shares(site: Site, layout: Layout) -> tuple[Share, ...]:
    shares: list[Share] = []
    for gpu, held, compute in zip(site.gpus, layout.held, layout.compute, strict=True):
        here = [layer.index for layer in layout.layers if layer.attention == gpu.name]
        kv = sum(site.kv[index] for index in here)
        second = sum(site.trace_kv[index] for index in here) + (site.trace_head if layout.head == gpu.name else 0)
        pinned = site.pinned.weights.get(gpu.name, 0)
        computes = max(compute, site.full_compute) if pinned else compute
        shares.append(Share(gpu.name, "gpu", site.budget(gpu), Footprint(held - kv - second + pinned, kv, computes)))
    return tuple(shares)


def _cpu_share(site: Site, layout: Layout, machine: Machine, gpus: tuple[Share, ...]) -> Share:
    """What is not on the GPUs; a tied embedding is there too when the head is not."""
    kv = sum(site.kv[layer.index] for layer in layout.layers if layer.attention == CPU)
    elsewhere = sum(share.footprint.weights - site.pinned.weights.get(share.device, 0) for share in gpus)
    weights = site.model.weights + site.pinned.weights.get(CPU, 0) - elsewhere
    if site.whole.tied and layout.head != CPU:
        weights += site.whole.token_embd
    footprint = Footprint(weights, kv, cpu_compute(site.whole, layout.layers, site.ubatch, site.context))
    return Share(CPU, "cpu", max(0, machine.ram_available - RAM_RESERVE), footprint)


def _with_copies(shares: tuple[Share, ...], copies: int) -> tuple[Share, ...]:
    if not copies:
        return shares
    cpu = shares[-1]
    return (*shares[:-1], replace(cpu, footprint=replace(cpu.footprint, copies=copies)))


def _copies(site: Site, layout: Layout, machine: Machine) -> int:
    """Bytes that extra buffers keep a copy of; of a machine that nobody measured, all that lies in RAM."""
    known = machine.cpu_extra is not None
    total = 0
    for layer in layout.layers:
        places = {"up": layer.up, "gate": layer.gate, "gate_up": layer.up, "down": layer.down, "dense": layer.attention}
        for weights in site.whole.layers[layer.index].weights:
            if places[weights.part] == CPU and (not known or weights.type in machine.repacked):
                total += weights.nbytes
    if layout.head == CPU:
        total += sum(
            weights.nbytes
            for weights in site.whole.outside
            if weights.part == "output" and (not known or weights.type in machine.repacked)
        )
    return total


def _plan(site: Site, layout: Layout, shares: tuple[Share, ...], how: tuple[LoadMode, bool]) -> Plan:
    gpus = shares[:-1]
    used = [share.footprint.total > 0 for share in gpus]
    plan = Plan(
        context=site.context,
        kv_type=site.kv_type,
        ubatch=site.ubatch,
        load_mode=how[0],
        extra_buffers=how[1],
        layers=layout.layers,
        head=layout.head,
        devices=tuple(share.device for share, use in zip(gpus, used, strict=True) if use),
        n_gpu_layers=layout.n_gpu_layers,
        tensor_split=tuple(part for part, use in zip(layout.split, used, strict=True) if use),
        overrides=(),
        shares=shares,
        forecast=None,
    )
    return with_trace(site.whole, plan, site.trace)
