"""What `/copy` writes to the terminal, and which part of an answer it takes.

Knows OSC 52 and what multiplexers make of it; refuses to know streams, and to copy anything by itself.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from mixchat.errors import UsageError
from mixchat.ui.console import is_dumb

MOST_BYTES: Final = 74_994
"""Of UTF-8: with its escape sequence the most that terminals which have a limit take, 100,000 bytes of base64."""

_SCREEN_CHUNK: Final = 240
_OPENING: Final = re.compile(r"[ \t]*(?P<fence>`{3,}(?=[^`]*$)|~{3,})")
_NEAR: Final = 3
_EXPORT: Final = "/export FILE writes the chat to a file."


def osc52(text: str, environ: Mapping[str, str]) -> str:
    r"""The escape sequence that puts a text on the clipboard of the terminal in front of the person, also over ssh.

    1. The text is UTF-8 in base64: `ESC ] 52 ; c ; ... BEL`, see https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
    2. tmux heeds it with `set-clipboard on` alone, and passes on what is wrapped for it with `allow-passthrough on`
       (before 3.3 always). Neither is the default, so both forms are written; what it does not heed it drops.
    3. screen passes on wrapped strings of up to 256 bytes (768 since 2014), so it gets pieces; of the plain form it
       would print what exceeds that.

    Nobody answers: whether the terminal has done it is not known.

    Raises:
        UsageError: The text is empty or too long, or the terminal is dumb.
    """
    data = text.encode("utf-8", "replace")
    if not data:
        raise UsageError("There is nothing to copy.", "Let the model answer first.")
    if is_dumb(environ):
        raise UsageError("This terminal cannot copy: TERM says that it is dumb.", _EXPORT)
    if len(data) > MOST_BYTES:
        raise UsageError(f"{len(data):,} bytes are more than terminals copy ({MOST_BYTES:,}).", _EXPORT)
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    match multiplexer(environ):
        case "tmux":
            doubled = sequence.replace("\x1b", "\x1b\x1b")
            return f"{sequence}\x1bPtmux;{doubled}\x1b\\"
        case "screen":
            return "".join(f"\x1bP{piece}\x1b\\" for piece in _pieces(sequence))
        case _:
            return sequence


def multiplexer(environ: Mapping[str, str]) -> Literal["tmux", "screen"] | None:
    """What stands between us and the terminal; only screen puts the outer TERM behind `screen.`."""
    term = environ.get("TERM", "")
    if term.startswith("screen."):
        return "screen"
    if environ.get("TMUX") or term.startswith("tmux"):
        return "tmux"
    return "screen" if environ.get("STY") or term.startswith("screen") else None


def copied_line(text: str, environ: Mapping[str, str]) -> str:
    """What to say after it was written."""
    count = "1 character" if len(text) == 1 else f"{len(text):,} characters"
    line = f"Sent {count} to the terminal's clipboard"
    if multiplexer(environ) == "tmux":
        return line + "; tmux needs `set -s set-clipboard on` for that."
    return line + "."


def last_code(markdown: str) -> str:
    """The last code block of an answer, the one right above the prompt; without the line end that would run it.

    Raises:
        UsageError: It has none.
    """
    blocks = code_blocks(markdown)
    if not blocks:
        raise UsageError("The last answer has no code block.", "/copy takes all of it.")
    return blocks[-1].removesuffix("\n")


def code_blocks(markdown: str) -> tuple[str, ...]:
    """The contents of all fenced blocks, without the indentation of their fences; one that is never closed goes on.

    Fences are those of https://spec.commonmark.org/0.31.2/#fenced-code-blocks, at any indentation: models put them
    into lists.
    """
    lines = re.split(r"\r\n|\r|\n", markdown)
    return tuple(_blocks(iter(lines if lines[-1] else lines[:-1])))


def _blocks(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if opening := _OPENING.match(line):
            yield _block(opening["fence"], opening.start("fence"), lines)


def _block(fence: str, indent: int, lines: Iterator[str]) -> str:
    closing = re.compile(rf"[ \t]{{0,{indent + _NEAR}}}{fence[0]}{{{len(fence)},}}[ \t]*")
    outer = re.compile(rf"[ \t]{{0,{indent}}}")
    kept: list[str] = []
    for line in lines:
        if closing.fullmatch(line):
            break
        kept.append(outer.sub("", line, count=1) + "\n")
    return "".join(kept)


def _pieces(sequence: str) -> Iterator[str]:
    for begin in range(0, len(sequence), _SCREEN_CHUNK):
        yield sequence[begin : begin + _SCREEN_CHUNK]
