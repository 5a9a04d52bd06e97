"""Draws the pictures of the README: `python docs/screens.py FOLDER` runs mixchat in a terminal and writes SVG files.

Knows the scenes, how keys are typed and how a screen becomes a picture; refuses to know what mixchat does. The demo
model must be there, or be makeable: pip install "mixchat[demo]". Figures of speed and memory are this machine's.
"""
# ruff: noqa: INP001 - a script, not a package

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pexpect
import pyte
from terminal_svg import Screen, svg

ROOT: Final = Path(__file__).resolve().parents[1]
PATIENCE: Final = 180.0


@dataclass(frozen=True, slots=True)
class Step:
    """Keys to type; then the screen must match `until` and stay as it is for `quiet` seconds."""

    keys: str = ""
    until: str = ""
    quiet: float = 2.5


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture: its file's name, mixchat's arguments, what is typed, and the size of the screen in cells."""

    name: str
    arguments: tuple[str, ...]
    steps: tuple[Step, ...]
    columns: int = 80
    rows: int = 24


WARM_UPS: Final = (
    Scene("measure", ("plan", "-m", "demo"), (Step(until="why"),)),
    Scene("prove", ("ask", "-m", "demo", "--stats", "--max-tokens", "1", "Hi"), (Step(until="t/s"),)),
)
"""What the first run on a machine measures and proves is not to be seen on a picture."""

READY: Final = Step(until="is ready")
CHAT: Final = ("chat", "-m", "demo", "--temperature", "0")
ADD: Final = "Write a Python function that adds two numbers."
SCENES: Final = (
    Scene("chat", CHAT, (READY, Step(f"{ADD}\r", r"```|def add|\breturn\b")), rows=30),
    Scene(
        "prompt",
        (*CHAT, "--max-tokens", "40", "-s", "Answer in one sentence."),
        (
            READY,
            Step("Why is the sky blue?\r", "sky"),
            Step("And at dusk?\r", "dusk"),
            Step("/show prompt\r", "of the context"),
        ),
        rows=38,
    ),
    Scene(
        "tokens",
        (*CHAT, "--max-tokens", "60", "-s", "Answer in one sentence."),
        (
            READY,
            Step("Why is the sky blue?\r", "sky"),
            Step("And at dusk?\r", "dusk"),
            Step("/tokens\r", "tokens  first words"),
        ),
        rows=26,
    ),
    Scene(
        "full",
        (*CHAT, "--ctx", "256", "--max-tokens", "70"),
        (
            READY,
            Step("Why is the sky blue?\r", "sky"),
            Step("And at dusk?\r", "dusk"),
            Step("Name the colours of a rainbow, from the outside in.\r", "context is full"),
        ),
        rows=30,
    ),
    Scene("narrow", CHAT, (READY, Step(f"{ADD}\r", r"def add|\breturn\b")), columns=40, rows=30),
    Scene("plan", ("plan", "-m", "demo"), (Step(until="why"),), rows=32),
)


def play(scene: Scene, environ: Mapping[str, str], folder: Path) -> Screen:
    """Run mixchat on a terminal of its own, type what the scene says, and return the screen at the end.

    Raises:
        SystemExit: Something does not show up within three minutes.
    """
    screen = Screen(scene.columns, scene.rows)
    stream = pyte.ByteStream(screen)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "mixchat", *scene.arguments],
        env=dict(environ),
        cwd=str(folder),
        dimensions=(scene.rows, scene.columns),
    )
    child.delaybeforesend = None
    try:
        for step in scene.steps:
            child.send(step.keys)
            _wait(child, screen, stream, step)
        screen.cursor.hidden = screen.cursor.hidden or not child.isalive()
    finally:
        child.close(force=True)
    return screen


def _wait(child: Any, screen: Screen, stream: Any, step: Step) -> None:  # noqa: ANN401
    begin = last = time.monotonic()
    ended = False
    while True:
        now, seen = time.monotonic(), re.search(step.until, "\n".join(screen.display))
        if seen and (ended or now - last >= step.quiet):
            return
        if ended or now - begin > PATIENCE:
            raise SystemExit(f"{step.until!r} does not show up:\n" + "\n".join(screen.display))
        try:
            stream.feed(child.read_nonblocking(65536, 0.1))
            last = time.monotonic()
        except pexpect.TIMEOUT:
            continue
        except pexpect.EOF:
            ended = True
        while screen.answers:
            child.send(screen.answers.pop(0))


def environment(home: Path) -> dict[str, str]:
    """This one for a terminal with colours, settings and sessions of its own, and the person's models."""
    from mixchat.store.places import find_places  # noqa: PLC0415 - the picture's part needs no mixchat

    dropped = ("MIXCHAT_", "COLUMNS", "LINES", "NO_COLOR", "COLORTERM", "TMUX", "STY", "LC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    own = {"MIXCHAT_HOME": str(home), "MIXCHAT_MODELS": str(find_places(os.environ).models)}
    return kept | own | {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}


def draw_experts(path: Path, environ: Mapping[str, str]) -> None:
    """The picture that mixchat itself draws of a text in code and prose."""
    with (ROOT / "docs" / "experts.txt").open("rb") as text:
        command = [sys.executable, "-m", "mixchat", "experts", "-m", "demo", "--svg", str(path)]
        subprocess.run(command, stdin=text, stdout=subprocess.DEVNULL, env=dict(environ), timeout=PATIENCE, check=True)


def main(arguments: Sequence[str]) -> int:
    """Draw all scenes, or those that are named."""
    if not arguments:
        raise SystemExit("usage: python docs/screens.py FOLDER [SCENE...]")
    out, wanted = Path(arguments[0]), set(arguments[1:])
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="screens-") as home:
        environ = environment(Path(home))
        for scene in WARM_UPS:
            play(scene, environ, Path(home))
        for scene in (each for each in SCENES if not wanted or each.name in wanted):
            screen = play(scene, environ, Path(home))
            path = out / f"{scene.name}.svg"
            path.write_text(svg(screen, shlex.join(("mixchat", *scene.arguments))), "utf-8")
            sys.stdout.write(f"{path}\n")
        if not wanted or "experts" in wanted:
            draw_experts(out / "experts.svg", environ)
            sys.stdout.write(f"{out / 'experts.svg'}\n")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
