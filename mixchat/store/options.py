"""The settings there are, and what each may be.

Knows names, kinds, limits and built-in defaults; refuses to know where a value came from.
"""

import difflib
import math
import re
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mixchat.errors import UsageError
from mixchat.plan.units import parse_size

Value = str | int | float | tuple[int, ...] | tuple[str, ...] | None
Kind = Literal["text", "choice", "integer", "number", "size", "sizes", "texts"]
_FLOAT_LIMIT = 1e38  # llama.cpp takes these as 32-bit floats
_MOST_BYTES = 1 << 60
_DEVICE = r"[^\s,=]{1,128}"


@dataclass(frozen=True, slots=True)
class Range:
    """What a number may be; an end is included unless it is said to be open."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.open_low else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        if self.open_low:
            return f"above {self.low:g}" + ("" if self.high == math.inf else f" and at most {self.high:g}")
        return f"of at least {self.low:g}" if self.high == math.inf else f"from {self.low:g} to {self.high:.10g}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: Its key in `config.toml`; the flag and the environment variable follow from it.
        default: None leaves the choice to the program.
        help: What it does, in a line.
        range: Of a number.
        choices: Of a choice.
        form: What one of several texts looks like, in words.
        pattern: The same as a regular expression.
    """

    name: str
    kind: Kind
    default: Value
    help: str
    range: Range = Range()
    choices: tuple[str, ...] = ()
    form: str = ""
    pattern: str = ""

    @property
    def flag(self) -> str:
        """The long option on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "MIXCHAT_" + self.name.upper()

    @property
    def expected(self) -> str:
        """What a value must be, for an error's hint."""
        expected = {
            "text": "a text",
            "choice": "one of " + ", ".join(self.choices),
            "integer": f"a whole number {self.range}",
            "number": f"a number {self.range}",
            "size": "a size such as 8GiB",
            "sizes": "a size such as 8GiB, or several with commas between",
            "texts": self.form,
        }
        return expected[self.kind]

    def check(self, value: object, where: str) -> Value:
        """Return the value in the setting's own type.

        Args:
            value: Of the setting's kind; an int is a fine number, a bool and NaN are not. Of several sizes or texts: a
                list, or a text with commas between.
            where: What an error names: the flag, the variable or the file's line and key.

        Raises:
            UsageError: The value is of another kind or out of range.
        """
        match self.kind, value:
            case _, bool():
                raise self._refused(value, where)
            case ("text", str(text)):
                return text
            case ("choice", str(text)) if text in self.choices:
                return text
            case ("integer", int(number)) if number in self.range:
                return number
            case ("number", int(number) | float(number)) if number in self.range and abs(number) < _FLOAT_LIMIT:
                return float(number)
            case _:
                return self._check_special(value, where)

    def parse(self, text: str, where: str) -> Value:
        """Read the value from a text, as the environment gives it; raises as `check` does."""
        try:
            match self.kind:
                case "integer":
                    return self.check(int(text), where)
                case "number":
                    return self.check(float(text), where)
                case _:
                    return self.check(text, where)
        except ValueError:
            raise self._refused(text, where) from None

    def _check_special(self, value: object, where: str) -> Value:
        """Sizes and lists."""
        match self.kind, value:
            case ("size", int() | str()):
                return self._size(value, where)
            case ("sizes", int() | str() | list()):
                return tuple(self._size(item, where) for item in self._items(value, where))
            case ("texts", str() | list()):
                return tuple(self._item(item, where) for item in self._items(value, where))
            case _:
                raise self._refused(value, where)

    def _items(self, value: object, where: str) -> Sequence[object]:
        """The parts of a list; there is at least one."""
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else (value,)
        if not items:
            raise self._refused(value, where)
        return items

    def _item(self, item: object, where: str) -> str:
        if not isinstance(item, str) or not item.isprintable() or not re.fullmatch(self.pattern, item.strip()):
            raise self._refused(item, where)
        return item.strip()

    def _size(self, value: object, where: str) -> int:
        try:
            size = parse_size(value) if isinstance(value, str) else value
        except UsageError as exc:
            raise UsageError(f"{where}: {reprlib.repr(value)} is not {self.expected}.", exc.hint) from None
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MOST_BYTES:
            raise self._refused(value, where)
        return size

    def _refused(self, value: object, where: str) -> UsageError:
        near = nearest(str(value), self.choices)
        default = "mixchat chooses" if self.default is None else f"it is {_shown(self.default)}"
        hint = f"Did you mean {near}?" if near else f"Correct it or leave it out: then {default}."
        return UsageError(f"{where}: {reprlib.repr(value)} is not {self.expected}.", hint)


def _shown(default: Value) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, or None when none does."""
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1)), None)


SETTINGS: tuple[Setting, ...] = (
    Setting("model", "text", "mixtral", "Model reference"),
    Setting("system", "text", None, "System prompt"),
    Setting("temperature", "number", 0.7, "Randomness of the answer; 0 is greedy", Range(0, 5)),
    Setting("top_p", "number", 0.95, "Nucleus sampling; 1 is off", Range(0, 1, open_low=True)),
    Setting("top_k", "integer", 40, "Sample from the K best tokens; 0 is off", Range(low=0, high=2**31 - 1)),
    Setting("min_p", "number", 0.05, "Least probability beside the best token's; 0 is off", Range(0, 1)),
    Setting("repeat_penalty", "number", 1.0, "Penalty for repeated tokens; 1 is off", Range(low=0, open_low=True)),
    Setting("seed", "integer", None, "Seed of the sampler; unset draws one", Range(0, 2**32 - 2)),
    Setting("max_tokens", "integer", None, "Most tokens of an answer", Range(1, 2**31 - 1)),
    Setting("ctx", "integer", None, "Tokens of context", Range(1, 2**31 - 1)),
    Setting("kv_type", "choice", None, "Type of the KV cache", choices=("f16", "q8_0", "q4_0")),
    Setting("vram", "sizes", None, "The most that may be used of each GPU"),
    Setting("ram", "size", None, "RAM to plan with; unset takes what is available"),
    Setting("device", "texts", ("auto",), "Where the model runs", form="cpu, auto or devices' names", pattern=_DEVICE),
    Setting("expert_layers", "integer", None, "Layers whose experts live in VRAM", Range(0, 512)),
    Setting("gpu_layers", "integer", None, "Whole layers on the GPUs, the head included", Range(0, 513)),
    Setting("experts_used", "integer", None, "Experts per token; unset as the model was trained", Range(1, 1024)),
    Setting("override", "texts", None, "Tensors that go to a device", form="REGEX=DEVICE", pattern=f".+=\\s*{_DEVICE}"),
    Setting("rpc", "texts", None, "Machines to use over RPC", form="HOST:PORT", pattern=r"[^\s,:/]{1,253}:[0-9]{1,5}"),
    Setting("threads", "integer", None, "Compute threads; unset measures the machine", Range(1, 512)),
    Setting("ubatch", "integer", None, "Tokens of one prefill batch", Range(1, 65536)),
    Setting("load_mode", "choice", "auto", "How weights come into memory", choices=("auto", "mmap", "copy", "mlock")),
    Setting(
        "overflow",
        "choice",
        "ask",
        "What a chat does when its context is full",
        choices=("ask", "drop", "summarise", "enlarge", "stop"),
    ),
    Setting("output", "choice", "markdown", "How a chat shows answers", choices=("markdown", "raw")),
    Setting("keys", "choice", "emacs", "How the keys edit a line of a chat", choices=("emacs", "vi")),
    Setting("snapshots", "size", 4 << 30, "Disk for evaluated chats, which resume at once"),
    Setting("prompt_cache", "size", 2 << 30, "Disk for evaluated prompts; 0 keeps none"),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
