"""Ending an answer at a stop text while it streams.

Knows texts only; refuses to know tokens and why an answer should stop there.
"""

from mixchat.errors import UsageError


class StopScanner:
    """Looks for stop texts in text that arrives in chunks; where the chunks are cut makes no difference.

    The stop that is complete first ends the text; of several completed by the same character, the longest. So nothing
    has to be generated after a complete stop.

    Args:
        stops: Texts that end the answer and are not part of it. Without any, chunks pass through untouched.

    Raises:
        UsageError: One of them is empty.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        if "" in stops:
            raise UsageError("A stop text is empty.", "Give --stop a text of at least one character.")
        self._stops = stops
        self._reach = max(map(len, stops), default=1) - 1
        self._held = ""
        self._stopped = False

    def feed(self, text: str) -> tuple[str, bool]:
        """Take the next chunk.

        Returns:
            The text that is certainly part of the answer, and whether a stop was found; after that all is dropped.
        """
        if not self._stops:
            return text, False
        if self._stopped:
            return "", True
        text = self._held + text
        start = self._first_stop(text)
        if start is not None:
            self._held, self._stopped = "", True
            return text[:start], True
        keep = len(text) - self._pending(text)
        self._held = text[keep:]
        return text[:keep], False

    def finish(self) -> str:
        """The answer ended by itself: return what was held back, which became no stop."""
        held, self._held = self._held, ""
        return held

    def _first_stop(self, text: str) -> int | None:
        found = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        return min(found)[1] if found else None

    def _pending(self, text: str) -> int:
        for length in range(min(self._reach, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
