"""A TOML table read strictly: every key is asked for once, and what nobody asked for is an error.

Knows kinds of values and how to name a mistake with its line; refuses to know what the keys mean.
"""

import re

from mixchat.errors import UsageError
from mixchat.models.toml_lines import KeyLines


class Table:
    """A table.

    Args:
        content: What `tomllib` made of it.
        name: Such as `mixtral.files[0]`.
        lines: Where its keys stand, for errors.

    Raises:
        UsageError: The content is no table.
    """

    def __init__(self, content: object, name: str, lines: KeyLines) -> None:
        self.name = name
        self._lines = lines
        if not isinstance(content, dict):
            raise self.wrong("is not a table")
        self._left: dict[str, object] = dict(content)

    def wrong(self, why: str, key: str | None = None) -> UsageError:
        """The error that names this table, or a key of it."""
        return UsageError(
            f"{self.place(key)} {why}.", "Correct it; the models.toml in mixchat's sources is an example."
        )

    def place(self, key: str | None = None) -> str:
        """File, line and name of this table, or of a key of it."""
        name = self.name if key is None else f"{self.name}.{key}"
        return f"{self._lines.place(name)}: {name}"

    def text(self, key: str, pattern: str = r".+") -> str:
        """Take a text that the pattern matches as a whole."""
        value = self._left.pop(key, None)
        if not isinstance(value, str) or not re.fullmatch(pattern, value) or not value.isprintable():
            raise self._refused(key, value, "what is allowed here")
        return value

    def optional_text(self, key: str, pattern: str) -> str | None:
        """Take a text that may be missing."""
        return self.text(key, pattern) if key in self._left else None

    def optional_integer(self, key: str) -> int | None:
        """Take a whole number above 0 that may be missing."""
        return self.integer(key) if key in self._left else None

    def integer(self, key: str) -> int:
        """Take a whole number above 0."""
        value = self._left.pop(key, None)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._refused(key, value, "a whole number above 0")
        return value

    def table(self, key: str) -> "Table | None":
        """Take a table that may be missing."""
        value = self._left.pop(key, None)
        return None if value is None else Table(value, f"{self.name}.{key}", self._lines)

    def tables(self, key: str) -> "tuple[Table, ...]":
        """Take a list of tables that may be missing."""
        value = self._left.pop(key, [])
        if not isinstance(value, list):
            raise self._refused(key, value, "a list of tables")
        return tuple(Table(item, f"{self.name}.{key}[{index}]", self._lines) for index, item in enumerate(value))

    def rest(self) -> dict[str, object]:
        """Take all that is left."""
        left, self._left = self._left, {}
        return left

    def end(self) -> None:
        """Say that no other key is known."""
        for key in self._left:
            raise self.wrong("is not a known key", key)

    def _refused(self, key: str, value: object, wanted: str) -> UsageError:
        return self.wrong("is missing" if value is None else f"is {value!r}, not {wanted}", key)
