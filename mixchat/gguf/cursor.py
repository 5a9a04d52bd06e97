"""Reads the pieces that a GGUF header is made of, one after the other.

Knows integers, strings and typed values, and their limits; refuses to know their order in a file.
"""

from struct import Struct, calcsize, unpack_from

from mixchat.errors import BadHeader, TruncatedHeader
from mixchat.gguf.values import CODES, MetadataValue, Scalar, ValueType

HINT = "Fetch the file again, or use another one."
MAX_STRING = 8 << 20
MAX_ARRAY = 1 << 20

_LENGTH = Struct("<Q")


class Cursor:
    """A position in bytes that may end before the header does.

    Every method moves it behind what was read, and raises TruncatedHeader when that is not all there.
    """

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data).cast("B")
        self.position = 0

    def raw(self, count: int) -> memoryview:
        """The next `count` bytes."""
        start = self._advance(count)
        return self._data[start : self.position]

    def u32(self) -> int:
        """An unsigned number of four bytes."""
        return int.from_bytes(self.raw(4), "little")

    def u64(self) -> int:
        """An unsigned number of eight bytes."""
        return int.from_bytes(self.raw(8), "little")

    def count(self, limit: int, what: str) -> int:
        """An unsigned number of eight bytes that says how many follow.

        Raises:
            BadHeader: It exceeds the limit.
        """
        return _checked(self.u64(), limit, what)

    def text(self) -> str:
        """A string; bytes that are not UTF-8 become U+FFFD.

        Raises:
            BadHeader: It is longer than the limit.
        """
        return str(self.raw(self.count(MAX_STRING, "bytes of text")), "utf-8", "replace")

    def texts(self, count: int) -> tuple[str, ...]:
        """`count` strings; a loop of its own because vocabularies have 100,000 and more.

        Raises:
            BadHeader: One is longer than the limit.
        """
        self._require(count * _LENGTH.size)
        data, size, end = self._data, len(self._data), self.position
        found: list[str] = []
        for _ in range(count):
            start = end + _LENGTH.size
            if start > size:
                raise TruncatedHeader(size, start)
            (length,) = _LENGTH.unpack_from(data, end)
            end = start + _checked(length, MAX_STRING, "bytes of text")
            if end > size:
                raise TruncatedHeader(size, end)
            found.append(str(data[start:end], "utf-8", "replace"))
        self.position = end
        return tuple(found)

    def value_type(self) -> ValueType:
        """The type of the value that follows.

        Raises:
            BadHeader: There is no such type.
        """
        number = self.u32()
        if number > max(ValueType):
            raise BadHeader(f"The metadata has a value of the unknown type {number}.", HINT)
        return ValueType(number)

    def value(self, kind: ValueType) -> MetadataValue:
        """A value of this type, or a tuple for an array.

        Raises:
            BadHeader: An array is nested or too long.
        """
        if kind is ValueType.ARRAY:
            return self._array()
        if kind is ValueType.STRING:
            return self.text()
        return self._numbers(kind, 1)[0]

    def _array(self) -> tuple[Scalar, ...]:
        kind = self.value_type()
        count = self.count(MAX_ARRAY, "array items")
        if kind is ValueType.ARRAY:
            raise BadHeader("The metadata has an array of arrays.", HINT)
        if kind is ValueType.STRING:
            return self.texts(count)
        return self._numbers(kind, count)

    def _numbers(self, kind: ValueType, count: int) -> tuple[Scalar, ...]:
        layout = f"<{count}{CODES[kind]}"
        numbers: tuple[Scalar, ...] = unpack_from(layout, self._data, self._advance(calcsize(layout)))
        return tuple(map(bool, numbers)) if kind is ValueType.BOOL else numbers

    def _require(self, count: int) -> int:
        end = self.position + count
        if end > len(self._data):
            raise TruncatedHeader(len(self._data), end)
        return end

    def _advance(self, count: int) -> int:
        start = self.position
        self.position = self._require(count)
        return start


def _checked(number: int, limit: int, what: str) -> int:
    if number > limit:
        raise BadHeader(f"The header announces {number} {what}; the limit is {limit}.", HINT)
    return number
