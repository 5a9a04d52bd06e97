"""The settings there are, and what each may be.

Knows names, kinds, limits and built-in defaults; refuses to know where a value came from.
"""

import difflib
import math
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mixchat.errors import UsageError

Value = str | int | float | None
Kind = Literal["text", "choice", "integer", "number"]
_FLOAT_LIMIT = 1e38  # llama.cpp takes these as 32-bit floats


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
    """

    name: str
    kind: Kind
    default: Value
    help: str
    range: Range = Range()
    choices: tuple[str, ...] = ()

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
        match self.kind:
            case "text":
                return "a text"
            case "choice":
                return "one of " + ", ".join(self.choices)
            case "integer":
                return f"a whole number {self.range}"
            case _:
                return f"a number {self.range}"

    def check(self, value: object, where: str) -> Value:
        """Return the value in the setting's own type.

        Args:
            value: Of the setting's kind; an int is a fine number, a bool and NaN are not.
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
                raise self._refused(value, where)

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

    def _refused(self, value: object, where: str) -> UsageError:
        near = nearest(str(value), self.choices)
        default = "mixchat chooses" if self.default is None else f"it is {self.default}"
        hint = f"Did you mean {near}?" if near else f"Correct it or leave it out: then {default}."
        return UsageError(f"{where}: {reprlib.repr(value)} is not {self.expected}.", hint)


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
    Setting("kv_type", "choice", "f16", "Type of the KV cache", choices=("f16", "q8_0", "q4_0")),
    Setting("device", "choice", "auto", "Where the model runs", choices=("cpu", "auto")),
    Setting("threads", "integer", None, "Compute threads; unset measures the machine", Range(1, 512)),
    Setting("ubatch", "integer", 512, "Tokens of one prefill batch", Range(1, 65536)),
    Setting("load_mode", "choice", "auto", "How weights come into memory", choices=("auto", "mmap", "copy", "mlock")),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
