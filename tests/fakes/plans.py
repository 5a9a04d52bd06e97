"""Plans and opened models written by hand, for what shows and judges them."""

from mixchat.app.events import Opened
from mixchat.engine.events import BufferSize, Loaded, LoadRequest
from mixchat.gguf.header import parse_header
from mixchat.gguf.model import MoeModel, describe
from mixchat.plan.values import CPU, Footprint, Forecast, Machine, Placement, Plan, Share
from tests.builders import mixtral_header

GIB = 1 << 30
RAM = Footprint(weights=20 * GIB, kv=GIB, compute=GIB // 2)
VRAM = Footprint(weights=6 * GIB, kv=GIB, compute=GIB // 2)
MACHINE = Machine((), 32 * GIB)


def mixtral(quant: str = "static/Q4_K_M") -> MoeModel:
    """The real shape of a Mixtral 8x7B file."""
    return describe(parse_header(mixtral_header(quant)))


def plan_of(
    ram: Footprint = RAM, *gpus: tuple[str, Footprint], budget: int = 32 * GIB, forecast: Forecast | None = None
) -> Plan:
    """32 layers whose attention is on the first GPU, if there is one, with the experts of the first four."""
    first = gpus[0][0] if gpus else CPU
    experts = [first if index < 4 else CPU for index in range(32)]
    shares = [Share(name, "gpu", 24 * GIB, footprint) for name, footprint in gpus]
    return Plan(
        context=8192,
        kv_type="f16",
        ubatch=512,
        load_mode="mmap",
        extra_buffers=False,
        layers=tuple(Placement(index, first, at, at, at) for index, at in enumerate(experts)),
        head=first,
        devices=tuple(name for name, _footprint in gpus),
        n_gpu_layers=33 if gpus else 0,
        tensor_split=(33,) if gpus else (),
        overrides=(),
        shares=(*shares, Share(CPU, "cpu", budget, ram)),
        forecast=forecast,
    )


def opened(name: str = "mixtral", plan: Plan | None = None, buffers: tuple[BufferSize, ...] = ()) -> Opened:
    """A model that is ready."""
    return Opened(
        name, mixtral(), plan or plan_of(), Loaded(8192, buffers, 800.0), LoadRequest("mixtral.gguf"), MACHINE
    )
