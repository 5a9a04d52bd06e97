"""Render a model file's own chat template, which is untrusted code.

Knows Jinja and its limits; refuses to know which text is a person's: contents arrive already replaced by marks.

Three fences: a sandbox without attribute access to anything but data (CVE-2024-34359 was the lack of it), a limit on
memory and output, and a clock: an expression such as `10**(10**8)` holds the interpreter for minutes and no Python code
can interrupt it, so the alarm's default action ends the worker and the front says why.
"""

import json
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from mixchat.chat.messages import Message
from mixchat.errors import BadTemplate

SECONDS: Final = 5.0
_MEMORY: Final = 512 * 2**20
_OUTPUT: Final = 2**20
_HINT: Final = "The file's chat template is not usable; try another conversion of this model."


def render(template: str, messages: Sequence[Message], bos: str, eos: str) -> str:
    """Render `template` with the variables and functions that Hugging Face's chat templates expect.

    Args:
        template: Jinja source from the model file.
        messages: Roles and contents.
        bos: Text of the vocabulary's BOS token, for `bos_token`.
        eos: Text of its EOS token.

    Raises:
        BadTemplate: It fails, refuses the messages, or exceeds a limit.
    """
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
    room = _OUTPUT + 8 * sum(len(message.text) for message in messages)
    values = {
        "messages": [{"role": message.role, "content": message.text} for message in messages],
        "add_generation_prompt": True,
        "bos_token": bos,
        "eos_token": eos,
        "tools": None,
    }
    try:
        with _limits():
            return _bounded(environment.from_string(template).generate(values), room)
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadTemplate(f"The model's chat template fails: {error}", _HINT) from error
    except (MemoryError, RecursionError) as error:
        raise BadTemplate("The model's chat template needs more memory than it may have.", _HINT) from error


def _bounded(chunks: Iterator[str], room: int) -> str:
    parts: list[str] = []
    for chunk in chunks:
        room -= len(chunk)
        if room < 0:
            raise BadTemplate("The model's chat template writes without end.", _HINT)
        parts.append(chunk)
    return "".join(parts)


@contextmanager
def _limits() -> Iterator[None]:
    """At most SECONDS of time (the worker dies by SIGALRM) and 512 MiB more address space."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    used = _address_space()
    if used is not None:
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (_soft, hard))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _address_space() -> int | None:
    """Bytes of address space in use; None where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise BadTemplate(f"The model's chat template refuses the conversation: {message}", _HINT)


def _now(form: str) -> str:
    return datetime.now(UTC).astimezone().strftime(form)
