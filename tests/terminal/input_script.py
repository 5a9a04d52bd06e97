"""Reads messages as a chat does and shows them; run by test_input_terminal.py."""

import os
import signal
import sys
import time
from pathlib import Path

from mixchat.cli.signals import Signalled, die_by, ends_by_signal
from mixchat.ui.completion import CommandWords
from mixchat.ui.console import Terminal
from mixchat.ui.interrupts import interrupts
from mixchat.ui.line_input import LEAVE_HINT, InputOptions, Lines, line_source

NAMES = {
    "edit": "edit an earlier message and go on from there",
    "exit": "leave the chat",
    "export": "write the chat into a file",
    "file": "add text files",
    "help": "this list",
    "set": "change a setting",
}


def status(width: int) -> str:
    return f"demo · cpu · {width} columns"[:width]


def options() -> InputOptions:
    """As the environment says."""
    history = os.environ.get("HISTORY")
    return InputOptions(
        words=CommandWords(NAMES, {"set": lambda: ("temperature", "top_p", "top_k")}, {"file"}),
        status=status if os.environ.get("STATUS") else None,
        history=Path(history) if history else None,
        keys="vi" if os.environ.get("KEYS") == "vi" else "emacs",
    )


def answer(lines: Lines, message: str) -> None:
    """Show what was read; `wait SECONDS` works for that long first, and Ctrl-C ends that."""
    if message.startswith("wait "):
        stopped: list[bool] = []
        with lines.hold(), interrupts(lambda: stopped.append(True), lambda: None, lines.last_press):
            end = time.monotonic() + float(message.removeprefix("wait "))
            print("working", flush=True)  # noqa: T201 - what the test looks at
            while time.monotonic() < end and not stopped:
                time.sleep(0.01)
    print(f"{len(message)}: {message[:200]!r}", flush=True)  # noqa: T201


def main() -> None:
    """Read until the end."""
    lines = line_source(Terminal(sys.stdin, sys.stdout, sys.stderr, os.environ), options())
    while True:
        try:
            message = lines.read(os.environ.pop("DRAFT", ""))
        except KeyboardInterrupt:
            print(LEAVE_HINT, flush=True)  # noqa: T201
            continue
        if message is None:
            return
        answer(lines, message)


if __name__ == "__main__":
    try:
        with ends_by_signal():
            main()
    except Signalled as ended:
        die_by(signal.Signals(ended.number))
