"""Open a model: place it by its header, then load just that.

Knows the order of the steps; refuses to know how a step is done and shown.
"""

from collections.abc import Iterator

from mixchat.app.events import Notice, Opened, OpenEvent
from mixchat.app.house import House
from mixchat.app.machine import machine_of
from mixchat.app.source import Source, loadable
from mixchat.engine import platform
from mixchat.engine.events import Loaded, LoadRequest
from mixchat.gguf.model import MoeModel
from mixchat.models.library import mark_used
from mixchat.plan.memory import CONTEXT_STEP
from mixchat.plan.place import place
from mixchat.plan.values import Plan, Wishes
from mixchat.store.settings import Settings


def open_model(house: House, source: Source, settings: Settings, *, force: bool = False) -> Iterator[OpenEvent]:
    """Load a model; ends with Opened, or without it when the engine was interrupted.

    1. A file that llama.cpp does not load is refused by its header.
    2. The build of llama.cpp proves itself, once per build and CPU.
    3. The engine names its devices, and the model is placed on them.
    4. It is loaded just so, marked as in use.

    Raises:
        BadModel: The file cannot be loaded.
        DoesNotFit: The machine lacks the memory, and `force` is not given.
        EngineError: llama.cpp fails.
        InUse: The model is being removed.
    """
    loadable(source)
    proof, new = house.prove()
    if new and not proof.extra_buffers:
        yield Notice(
            f"This build of llama.cpp fails its self test with repacked weights ({proof.reason}) "
            "mixchat runs it without them: prefill is slower, answers are right."
        )
    plan = place(source.model, machine_of(house), _wishes(settings, force=force))
    yield from (Notice(text) for text in _about_context(settings.value("ctx"), plan, source.model))
    request = load_request(source, plan, settings, extra_buffers=proof.extra_buffers)
    house.uses.begin(source.path)
    mark_used(house.places, source.path)
    for event in house.engine.load(request):
        yield Opened(source.name, source.model, plan, event) if isinstance(event, Loaded) else event


def load_request(source: Source, plan: Plan, settings: Settings, *, extra_buffers: bool) -> LoadRequest:
    """What the engine is asked for; `mmap` on the CPU reads ahead unless the file exceeds the available RAM."""
    wished = settings.value("load_mode")
    load_mode = plan.load_mode if wished == "auto" else wished
    fits_cache = source.model.file_bytes <= platform.ram_available()
    return LoadRequest(
        path=str(source.path),
        context=plan.context,
        gpu=plan.gpu,
        kv_type=plan.kv_type,
        ubatch=settings.value("ubatch"),
        threads=settings.value("threads") or platform.physical_cores(),
        load_mode=load_mode,
        extra_buffers=plan.extra_buffers and extra_buffers,
        read_ahead=load_mode != "copy" and not plan.gpu and fits_cache,
    )


def _about_context(asked: int | None, plan: Plan, model: MoeModel) -> Iterator[str]:
    """What a person who asked for a context should know about the one that it became."""
    if asked is not None and asked != plan.context:
        yield f"--ctx {asked} becomes {plan.context}: llama.cpp takes multiples of {CONTEXT_STEP}."
    if asked is not None and asked > model.context_length:
        yield f"The model was trained for {model.context_length} tokens of context; answers may get worse past those."


def _wishes(settings: Settings, *, force: bool) -> Wishes:
    return Wishes(settings.value("ctx"), settings.value("kv_type"), settings.value("device"), force)
