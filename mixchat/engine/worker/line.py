"""Who waits for a slot, and who has one.

Knows the order in which requests come to their turn; refuses to know batches and samples.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from mixchat.chat.prefix import common_prefix
from mixchat.engine.worker.slots import Slots
from mixchat.engine.worker.task import Task

_WORTH_WAITING: Final = 16
"""Tokens that another prompt must be about to evaluate for a prompt that begins with them to wait for it."""


class Line:
    """The requests of one context, first come, first served.

    Attributes:
        active: Those that have a slot, the one that got it first in front.
    """

    def __init__(self, slots: Slots) -> None:
        self.active: list[Task] = []
        self._slots = slots
        self._waiting: deque[Task] = deque()
        self._crowded = False

    def __iter__(self) -> Iterator[Task]:
        return iter((*self.active, *self._waiting))

    def __bool__(self) -> bool:
        return bool(self.active or self._waiting)

    def join(self, task: Task) -> None:
        """Wait for a slot."""
        self._waiting.append(task)

    def leave(self, task: Task) -> None:
        """Give back the slot, or the place in the line; the slot remembers what is evaluated."""
        if task in self.active:
            self.active.remove(task)
            self._crowded = False
        else:
            self._waiting.remove(task)

    def admit(self) -> Iterator[Task]:
        """Yield those that have just got a slot."""
        while self._waiting:
            task = self._waiting[0]
            free = self._slots.free({each.slot for each in self.active})
            if self.active and (not free or self._must_wait(task)):
                return
            self._slots.take(task, self._only_first(free) if task.alone else free)
            self.active.append(self._waiting.popleft())
            yield task

    def make_room(self) -> bool:
        """Free cells of the KV cache; False when everything belongs to one request already.

        1. What idle slots remember is forgotten.
        2. The youngest request gives its cells back. It waits until another has ended, and goes on where it was.
        """
        if self._slots.drop(self._slots.free({task.slot for task in self.active})):
            return True
        if len(self.active) <= 1:
            return False
        youngest = self.active.pop()
        self._slots.drop((youngest.slot,))
        youngest.place(-1, 0)
        self._waiting.appendleft(youngest)
        self._crowded = True
        return True

    def _only_first(self, free: list[int]) -> list[int]:
        """Empty all slots but the first, so that the cells lie as they do in a context of one sequence."""
        self._slots.drop([slot for slot in free if slot])
        return [0]

    def _must_wait(self, task: Task) -> bool:
        return self._crowded or task.alone or any(other.alone for other in self.active) or self._about_to_share(task)

    def _about_to_share(self, task: Task) -> bool:
        """Whether another is just evaluating what this one begins with."""
        limit = len(task.tokens) - task.samples
        same = {
            other: min(common_prefix(other.tokens, task.tokens), limit) for other in self.active if other.pending > 1
        }
        least = self._slots.best(task) + _WORTH_WAITING
        return any(other.done < shared and least <= shared for other, shared in same.items())
