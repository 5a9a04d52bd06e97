"""How an expected error is shown.

Knows its two lines and its JSON; refuses to know what to do about it and the exit code.
"""

import json
from collections.abc import Mapping
from typing import Final, TextIO

from mixchat.errors import MixchatError
from mixchat.ui.console import paint, wrapped, write_line
from mixchat.ui.sanitize import single_line

_NAME: Final = "mixchat:"


def show_error(error: MixchatError, stream: TextIO, environ: Mapping[str, str], as_json: bool = False) -> None:
    """Write an error: its message and what to do next, or `{"error": {"code", "message", "hint"}}` on one line."""
    message, hint = single_line(error.message), single_line(error.hint)
    if as_json:
        content = {"error": {"code": error.exit_code, "message": message, "hint": hint}}
        write_line(stream, json.dumps(content))
        return
    text = wrapped(f"{_NAME} {message}", stream, environ).removeprefix(_NAME)
    write_line(stream, paint(_NAME, "error", stream, environ) + text)
    if hint:
        write_line(stream, wrapped(f"  -> {hint}", stream, environ, "     "))
