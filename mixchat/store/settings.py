"""Settings in layers, each value with its origin.

Knows the order (flags, a persona, environment, the user's `config.toml`, the model's own, built-in) and tells every
mistake in every layer, also one that a higher layer hides; refuses to know what the values do.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, overload

from mixchat.errors import UsageError
from mixchat.store.options import BY_NAME, SETTINGS, Setting, Value, nearest

if TYPE_CHECKING:
    from mixchat.store.personas import Persona

Origin = Literal["chat", "flag", "persona", "environment", "file", "model", "default"]
_ORIGINS: Final[tuple[Origin, ...]] = ("default", "model", "file", "environment", "persona", "flag", "chat")
NumberName = Literal["temperature", "top_p", "min_p", "repeat_penalty"]
Overflow = Literal["ask", "drop", "summarise", "enlarge", "stop"]
IntegerName = Literal["top_k"]
OptionalIntegerName = Literal[
    "seed", "max_tokens", "ctx", "threads", "ubatch", "expert_layers", "gpu_layers", "experts_used", "ram"
]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A setting's value and where it came from."""

    value: Value
    origin: Origin


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, each with its origin; `persona` is the name of the one that values come from."""

    chosen: Mapping[str, Chosen]
    persona: str = ""

    @overload
    def value(self, name: NumberName) -> float: ...
    @overload
    def value(self, name: IntegerName) -> int: ...
    @overload
    def value(self, name: OptionalIntegerName) -> int | None: ...
    @overload
    def value(self, name: Literal["model"]) -> str: ...
    @overload
    def value(self, name: Literal["system"]) -> str | None: ...
    @overload
    def value(self, name: Literal["kv_type"]) -> Literal["f16", "q8_0", "q4_0"] | None: ...
    @overload
    def value(self, name: Literal["device"]) -> tuple[str, ...]: ...
    @overload
    def value(self, name: Literal["vram"]) -> tuple[int, ...] | None: ...
    @overload
    def value(self, name: Literal["override", "rpc"]) -> tuple[str, ...] | None: ...
    @overload
    def value(self, name: Literal["overflow"]) -> Overflow: ...
    @overload
    def value(self, name: Literal["output"]) -> Literal["markdown", "raw"]: ...
    @overload
    def value(self, name: Literal["keys"]) -> Literal["emacs", "vi"]: ...
    @overload
    def value(self, name: Literal["snapshots", "prompt_cache"]) -> int: ...
    @overload
    def value(self, name: Literal["load_mode"]) -> Literal["auto", "mmap", "copy", "mlock"]: ...

    def value(self, name: str) -> Value:
        """The value in force; None where the program is to choose."""
        return self.chosen[name].value

    def origin(self, name: str) -> Origin:
        """Where the value came from."""
        return self.chosen[name].origin

    def place(self, name: str) -> str:
        """Where the value came from, as a person wrote it: the flag, the variable or the file's key."""
        match self.origin(name):
            case "environment":
                return BY_NAME[name].variable
            case "persona":
                return f"{name} in the persona {self.persona}"
            case "file":
                return f"{name} in config.toml"
            case "chat":
                return f"/set {name}"
            case _:
                return BY_NAME[name].flag

    def outranks(self, name: str, other: str) -> bool:
        """Whether a setting comes from a stronger layer than another one."""
        return _ORIGINS.index(self.origin(name)) > _ORIGINS.index(self.origin(other))

    def with_model_defaults(self, defaults: Mapping[str, float]) -> "Settings":
        """Put a model's own sampling defaults where nobody asked for something else.

        Raises:
            UsageError: A default is unknown or out of range.
        """
        found = {name: _checked(name, value, "the model's defaults") for name, value in defaults.items()}
        news = {name: Chosen(value, "model") for name, value in found.items() if self.origin(name) == "default"}
        return replace(self, chosen={**self.chosen, **news})

    def with_persona(self, persona: "Persona") -> "Settings":
        """Put a persona's values where no flag asks for something else."""
        news = {
            name: Chosen(value, "persona")
            for name, value in persona.values.items()
            if self.origin(name) not in {"flag", "chat"}
        }
        return Settings({**self.chosen, **news}, persona.name)

    def with_chat(self, values: Mapping[str, str]) -> "Settings":
        """Put what a person set in the chat above all else.

        Args:
            values: By setting name, as written.

        Raises:
            UsageError: A name is unknown or a value is wrong.
        """
        found = {name: _parsed(name, text, f"/set {name}") for name, text in values.items()}
        news = {name: Chosen(value, "chat") for name, value in found.items()}
        return replace(self, chosen={**self.chosen, **news})


def resolve(
    flags: Mapping[str, object], environ: Mapping[str, str], config_text: str | None, config_path: Path
) -> Settings:
    """Choose each setting's value from the highest layer that has one.

    Args:
        flags: By setting name; None is not given.
        environ: The environment; an empty variable is not given.
        config_text: Content of the user's file, None when there is none.
        config_path: Where it lies, for errors.

    Raises:
        UsageError: A value or a key in any layer is wrong.
    """
    layers: tuple[tuple[Origin, dict[str, Value]], ...] = (
        ("default", {setting.name: setting.default for setting in SETTINGS}),
        ("file", _from_file(config_text or "", config_path)),
        ("environment", dict(_from_environment(environ))),
        ("flag", dict(_from_flags(flags))),
    )
    return Settings({name: Chosen(value, origin) for origin, layer in layers for name, value in layer.items()})


def built_in() -> Settings:
    """What holds when nobody asked for anything."""
    return resolve({}, {}, None, Path("config.toml"))


def read_config(path: Path) -> str | None:
    """The text of the user's file, None when there is none.

    Raises:
        UsageError: It is there and cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror or exc}.", "Check its permissions.") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text (byte {exc.start}).", "Save it as UTF-8.") from exc


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, Value]]:
    for name, value in flags.items():
        if value is not None:
            yield name, BY_NAME[name].check(value, BY_NAME[name].flag)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    for setting in SETTINGS:
        if text := environ.get(setting.variable):
            yield setting.name, setting.parse(text, setting.variable)


def parse_toml(text: str, path: Path) -> dict[str, object]:
    """The content of a file that a person wrote.

    Raises:
        UsageError: It is not TOML; the message names the line.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{path} is not TOML: {exc}.", "Correct that line.") from exc


def _from_file(text: str, path: Path) -> dict[str, Value]:
    content = parse_toml(text, path)
    return {key: _checked(key, value, key_place(text, path, key)) for key, value in content.items()}


def _checked(key: str, value: object, where: str) -> Value:
    return _setting(key, where).check(value, f"{where}: {key}")


def _parsed(key: str, text: str, where: str) -> Value:
    return _setting(key, where).parse(text, where)


def _setting(key: str, where: str) -> Setting:
    """The setting of that name.

    Raises:
        UsageError: There is none.
    """
    if key not in BY_NAME:
        near = nearest(key.replace("-", "_"), BY_NAME)
        hint = f"Did you mean {near}?" if near else "The keys are: " + ", ".join(BY_NAME) + "."
        raise UsageError(f"{where}: there is no setting {key!r}.", hint)
    return BY_NAME[key]


def key_place(text: str, path: Path, key: str) -> str:
    """The file, with the key's line when just one line can be meant."""
    pattern = re.compile(rf"""\s*(\[+\s*)?["']?{re.escape(key)}["']?\s*[.=\]]""")
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if pattern.match(line)]
    return f"{path}, line {lines[0]}" if len(lines) == 1 else str(path)
