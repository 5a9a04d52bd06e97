"""Tokens to choose from, in the array that llama.cpp's samplers work on.

Knows the array's memory; refuses to know what the samplers are for. Rows of 12 bytes: id, logit, probability. Columns
are copied as strided views, which is as quick as llama.cpp's own loop and needs no numpy.
"""

import ctypes
import math
from array import array
from collections.abc import Iterable, Sequence

from mixchat.engine.worker.bindings import llama

_ROW = 3


class Candidates:
    """Room for so many tokens."""

    def __init__(self, room: int) -> None:
        memory = bytearray(room * ctypes.sizeof(llama.llama_token_data))
        self._rows = (llama.llama_token_data * room).from_buffer(memory)
        self._ids = memoryview(memory).cast("i")[0::_ROW]
        self._logits = memoryview(memory).cast("f")[1::_ROW]
        self._every = memoryview(array("i", range(room)))
        self._array = llama.llama_token_data_array()
        self._array.data = ctypes.cast(self._rows, ctypes.POINTER(llama.llama_token_data))

    def fill(self, logits: "memoryview[float]") -> None:
        """Take every token, with the logits of a whole vocabulary."""
        self._ids[:] = self._every
        self._logits[:] = logits
        self._begin(len(self._every))

    def pick(self, ids: Sequence[int], logits: "memoryview[float] | None" = None) -> None:
        """Take some tokens, with their logits out of a whole vocabulary's, or 0."""
        self._ids[: len(ids)] = memoryview(array("i", ids))
        self._logits[: len(ids)] = memoryview(array("f", [logits[i] for i in ids] if logits else bytes(4 * len(ids))))
        self._begin(len(ids))

    def _begin(self, size: int) -> None:
        self._array.size, self._array.selected, self._array.sorted = size, -1, False

    def forbid(self, rows: Iterable[int]) -> None:
        """Make the tokens of these rows impossible."""
        for row in rows:
            self._logits[row] = -math.inf

    def apply(self, sampler: object) -> None:
        """Run a sampler, or a chain of them."""
        llama.llama_sampler_apply(sampler, ctypes.byref(self._array))

    def unsort(self) -> None:
        """Their order no longer tells which is likeliest."""
        self._array.sorted = False

    @property
    def selected(self) -> int:
        """The token that the last sampler chose."""
        token: int = self._array.data[self._array.selected].id
        return token

    @property
    def any_possible(self) -> bool:
        """Whether there is such a token; looks no further than to the first one."""
        return any(map((-math.inf).__lt__, self._logits[: self._array.size]))

    @property
    def possible(self) -> list[int]:
        """The tokens whose logit is more than minus infinity."""
        size = self._array.size
        rows = zip(self._ids[:size].tolist(), self._logits[:size].tolist(), strict=True)
        return [token for token, logit in rows if logit > -math.inf]


def logits_at(context: object, index: int, size: int) -> "memoryview[float]":
    """A copy of the logits after the batch's token `index`."""
    pointer = llama.llama_get_logits_ith(context, index)
    return memoryview(ctypes.string_at(pointer, size * ctypes.sizeof(ctypes.c_float))).cast("f")
