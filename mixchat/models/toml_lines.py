"""Which line of a TOML file holds which key; `tomllib` does not say.

Knows how tables and keys are written in files like `models.toml`; refuses to check them. It names a line for an error:
where a file is written in a stranger way (dotted tables inside inline ones), it names the nearest line above, or none.
"""

import re
from collections.abc import Mapping

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADING = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")


class KeyLines:
    """The lines of a file's keys.

    Args:
        text: The file's content.
        origin: What an error calls the file.
    """

    def __init__(self, text: str, origin: str) -> None:
        self._origin = origin
        self._lines = _scan(text)

    def place(self, name: str) -> str:
        """The file and the line of a key such as `mixtral.files[0].bytes`, or of the nearest thing around it."""
        while name and name not in self._lines:
            name = re.sub(r"(?:\[\d+\]|(?:^|\.)[^.\[]*)$", "", name)
        return f"{self._origin}, line {self._lines[name]}" if name else self._origin


def _scan(text: str) -> Mapping[str, int]:
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if heading := _HEADING.match(line):
            table = _plain(heading[2])
            if heading[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{counts[table]}]"
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            name = _plain(key[1])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def _plain(dotted: str) -> str:
    return ".".join(part.strip("\"'") for part in re.findall(_NAME, dotted))
