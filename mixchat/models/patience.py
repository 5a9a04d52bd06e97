"""How long to wait for a network.

Knows pauses and limits; refuses to know what is asked of the network.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """When to try again, and when to give up; times are seconds.

    Attributes:
        tries: Tries in a row without progress before giving up.
        first_pause: Pause after a failure; it doubles with every one that follows without progress.
        longest_pause: The longest pause of our own.
        longest_wait: The longest pause that the other side can ask for.
        connect: Time to connect.
        stall: Time over which the throughput is measured, and the longest silence.
        floor: Least throughput, bytes per second.
    """

    tries: int = 6
    first_pause: float = 1.0
    longest_pause: float = 30.0
    longest_wait: float = 300.0
    connect: float = 15.0
    stall: float = 30.0
    floor: int = 1024

    def pause(self, failures: int, retry_after: float | None) -> float:
        """Seconds to wait after so many failures in a row (1 or more)."""
        if retry_after is not None:
            return min(retry_after, self.longest_wait)
        return min(self.first_pause * (1 << failures - 1), self.longest_pause)


PATIENCE = Patience()
