"""What the KV cache holds, sequence by sequence.

Knows llama.cpp's memory and the tokens in each of its sequences, here called slots; refuses to know who wants them.
All slots share the context's cells, and a cell that several of them begin with is there once.
"""

from collections.abc import Collection, Sequence
from typing import Any

from mixchat.chat.prefix import common_prefix
from mixchat.engine.worker.bindings import llama
from mixchat.engine.worker.task import Task


class Slots:
    """The slots of one context.

    Args:
        context: llama_context pointer.
        count: How many there are.
    """

    def __init__(self, context: Any, count: int) -> None:  # noqa: ANN401
        self._memory: Any = llama.llama_get_memory(context)
        self._held: list[list[int]] = [[] for _ in range(count)]
        self._floors = [0] * count
        self._taken = [0] * count
        self._turn = 0

    def held(self, slot: int) -> tuple[int, ...]:
        """The tokens of a slot."""
        return tuple(self._held[slot])

    def free(self, used: Collection[int]) -> list[int]:
        """The slots that are not used, the one that was taken longest ago first."""
        return sorted(set(range(len(self._held))) - set(used), key=lambda slot: (self._taken[slot], slot))

    def add(self, slot: int, tokens: Sequence[int]) -> None:
        """Take note of tokens that were evaluated."""
        self._held[slot] += tokens

    def adopt(self, tokens: Sequence[int]) -> None:
        """Take note of what a restored state has put into the first slot, which was empty.

        Of layers that attend to a window, and of recurrent ones, a state holds only what the next token needs; then
        nothing shorter can be continued.
        """
        self._held[0] = list(tokens)
        self._floors[0] = len(tokens) - 1 if llama.llama_memory_seq_pos_min(self._memory, 0) > 0 else 0

    def drop(self, slots: Collection[int]) -> bool:
        """Empty these slots; whether there was something in them."""
        full = [slot for slot in slots if self._held[slot]]
        for slot in full:
            self.cut(slot, 0)
        return bool(full)

    def cut(self, slot: int, keep: int) -> int:
        """Forget all but the first `keep` tokens, or everything where a part cannot be forgotten."""
        if keep < self._floors[slot] or not llama.llama_memory_seq_rm(self._memory, slot, keep, -1):
            llama.llama_memory_seq_rm(self._memory, slot, -1, -1)
            keep = self._floors[slot] = 0
        del self._held[slot][keep:]
        return keep

    def best(self, task: Task) -> int:
        """How many of a task's first tokens some slot holds, as far as it may go on from them."""
        return max(self._usable(slot, task) for slot in range(len(self._held)))

    def take(self, task: Task, free: Sequence[int]) -> None:
        """Give a task a free slot that holds as much of its beginning as any slot does.

        1. The slot that holds most of it, where nothing is lost by going on in it.
        2. Otherwise the one that was taken longest ago, and what another slot holds of the beginning is shared with
           it: the same cells, nothing is copied.
        """
        usable = [self._usable(slot, task) for slot in range(len(self._held))]
        most = max(usable)
        best = [slot for slot in free if usable[slot] == most]
        whole = [slot for slot in best if len(self._held[slot]) == most > 0]
        slot = (whole or free)[0]
        self._turn += 1
        self._taken[slot] = self._turn
        if usable[slot] < most:
            self._share(usable.index(most), slot)
        task.place(slot, self.cut(slot, most))

    def _usable(self, slot: int, task: Task) -> int:
        """How many tokens a slot has in common with a task that it can go on from.

        The prefix with batches of its own is used whole or not at all: a part of it would change the batches. With a
        seed nothing behind it is used, since that depends on what was asked before.
        """
        limit = len(task.tokens) - task.samples
        if task.own_batch and task.alone:
            limit = min(limit, task.own_batch)
        same = min(common_prefix(self._held[slot], task.tokens), limit)
        return 0 if same < max(task.own_batch, self._floors[slot]) else same

    def _share(self, source: int, slot: int) -> None:
        """Let a slot have all that another holds; whoever shares cuts it to what is wanted.

        A recurrent state is of all tokens or of none: then the cut forgets everything.
        """
        llama.llama_memory_seq_rm(self._memory, slot, -1, -1)
        llama.llama_memory_seq_cp(self._memory, source, slot, -1, -1)
        self._held[slot] = list(self._held[source])
        self._floors[slot] = self._floors[source]
