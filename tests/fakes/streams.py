"""Streams that remember: of a pipe, and of a terminal that is none."""

from io import BytesIO, TextIOWrapper


class FakeStream(TextIOWrapper):
    """A text stream into memory, strict about its encoding as Python's stdout is."""

    def __init__(self, content: bytes = b"", encoding: str = "utf-8", *, terminal: bool = False) -> None:
        self.bytes = BytesIO(content)
        self._terminal = terminal
        super().__init__(self.bytes, encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return self._terminal

    @property
    def written(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)
