"""The options that commands share, each declared once.

Knows flags and their help; refuses to know what a value does. `command` expands a frozen dataclass of options into a
Typer command's parameters.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from mixchat.cli.signals import as_signals

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="A known name such as demo, or a path to a .gguf; by default mixtral."
    ),
]


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How much a command says beside its answer."""

    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notices.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show llama.cpp's log, and tracebacks of errors.")] = False


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Which model, and how it is sampled; None leaves it to the environment, the file and the defaults."""

    model: ModelOption = None
    system: Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System prompt.")] = None
    system_file: Annotated[
        Path | None, typer.Option("--system-file", "-S", metavar="FILE", help="System prompt from a file.")
    ] = None
    persona: Annotated[
        str | None,
        typer.Option(
            "--persona", "-p", metavar="NAME", help="System prompt, sampling and form of the prompt by that name."
        ),
    ] = None
    temperature: Annotated[
        float | None, typer.Option(help="Randomness, 0 to 5; 0 takes the likeliest token. By default 0.7.")
    ] = None
    top_p: Annotated[
        float | None, typer.Option(help="Only the likeliest tokens that add up to this; 1 is off. By default 0.95.")
    ] = None
    top_k: Annotated[int | None, typer.Option(help="Only the K likeliest tokens; 0 is off. By default 40.")] = None
    min_p: Annotated[
        float | None, typer.Option(help="Only tokens this likely, relative to the best; 0 is off. By default 0.05.")
    ] = None
    repeat_penalty: Annotated[
        float | None, typer.Option(help="Makes the last 64 tokens less likely to come again; 1, the default, is off.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text on one machine.")] = None
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, in tokens; by default the context is the limit.")
    ] = None

    def flags(self) -> dict[str, object]:
        """The settings among them, by name."""
        names = (field.name for field in fields(self) if field.name not in {"system_file", "persona"})
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class PlacementOptions:
    """Where a model lies and how it is loaded; None leaves it to the environment, the file and the plan."""

    ctx: Annotated[
        int | None,
        typer.Option(help="Context in tokens; by default 8192 or the model's own, more on a GPU that has room."),
    ] = None
    kv_type: Annotated[
        str | None,
        typer.Option(metavar="f16|q8_0|q4_0", help="Type of the KV cache; by default f16, or q8_0 where that helps."),
    ] = None
    vram: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE[,SIZE]", help="Use at most this of each GPU, such as 8GiB; 1 GiB of its free memory is left."
        ),
    ] = None
    ram: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Plan with this much RAM; by default what is available.")
    ] = None
    device: Annotated[
        str | None,
        typer.Option(metavar="auto|cpu|NAME[,NAME]", help="Where to run; auto takes what is fastest, by default."),
    ] = None
    expert_layers: Annotated[
        int | None, typer.Option(metavar="N", help="Keep the experts of so many layers in VRAM.")
    ] = None
    gpu_layers: Annotated[
        int | None, typer.Option(metavar="N", help="Put so many whole layers on the GPUs, the head counting as one.")
    ] = None
    experts_used: Annotated[
        int | None,
        typer.Option(metavar="N", help="Experts that each token passes; fewer are faster, and answers change."),
    ] = None
    override: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX=DEVICE", help="Put the tensors that match on a device; repeatable."),
    ] = None
    rpc: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Use a machine that runs mixchat rpc-worker, too; repeatable."),
    ] = None
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; by default one for each core, fewer while others need one.")
    ] = None
    ubatch: Annotated[int | None, typer.Option(help="Tokens of one prefill batch; by default what is fastest.")] = None
    load_mode: Annotated[
        str | None, typer.Option(metavar="auto|mmap|copy|mlock", help="How weights come into memory.")
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Go on although it may not fit.")] = False

    def flags(self) -> dict[str, object]:
        """The settings among them, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "force"}
        return {name: None if value == [] else value for name, value in values.items()}


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register a function as a command, expanding parameters that are dataclasses of options.

    The function returns the exit code. Ctrl-C and a closed pipe end it by that signal.
    """

    def register(function: Callable[..., int]) -> Callable[..., int]:
        hints = get_type_hints(function, include_extras=True)
        groups = {key: cls for key, cls in hints.items() if hasattr(cls, "__dataclass_fields__")}

        def run(**values: Any) -> int:  # noqa: ANN401 - Typer's own
            for key, cls in groups.items():
                values[key] = cls(**{field.name: values.pop(field.name) for field in fields(cls)})
            with as_signals():
                return function(**values)

        run.__signature__ = _expanded(function, groups)  # type: ignore[attr-defined]
        run.__annotations__ = {}
        run.__doc__ = function.__doc__
        app.command(name)(run)
        return function

    return register


def _expanded(function: Callable[..., int], groups: dict[str, Any]) -> inspect.Signature:
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in groups:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        cls = groups[parameter.name]
        hints = get_type_hints(cls, include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
            )
            for field in fields(cls)
        ]
    return inspect.Signature(parameters)
