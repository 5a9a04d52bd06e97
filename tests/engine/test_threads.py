"""The governor against simulated machines."""

from collections.abc import Callable

import pytest

from mixchat.engine.worker.threads import ThreadGovernor


def run(governor: ThreadGovernor, seconds: Callable[[int], float], tokens: int) -> float:
    """Decode on a machine where a token takes `seconds(threads)`; the time it took."""
    total = 0.0
    for _ in range(tokens):
        spent = seconds(governor.threads)
        governor.decoded(spent)
        total += spent
    return total


def quiet(threads: int) -> float:
    return 0.04 / threads


def busy(threads: int) -> float:
    """One of two cores is shared: the second thread holds up the first."""
    return 0.04 if threads == 1 else 0.09


def test_a_quiet_machine_keeps_all_threads_at_little_cost() -> None:
    changes: list[int] = []
    governor = ThreadGovernor(4, changes.append)
    spent = run(governor, quiet, 400)
    assert governor.threads == 4
    assert changes == [3, 4]
    assert spent < 400 * quiet(4) * 1.01


def test_a_busy_neighbour_costs_a_thread_and_gives_it_back() -> None:
    governor = ThreadGovernor(2, lambda _count: None)
    run(governor, quiet, 100)
    assert run(governor, busy, 200) < 200 * busy(1) * 1.25
    assert governor.threads == 1
    assert run(governor, quiet, 400) < 400 * quiet(2) * 1.2
    assert governor.threads == 2


def test_busy_from_the_start() -> None:
    governor = ThreadGovernor(2, lambda _count: None)
    assert run(governor, busy, 400) < 400 * busy(1) * 1.1
    assert governor.threads == 1


def test_several_steps_down() -> None:
    governor = ThreadGovernor(8, lambda _count: None)
    run(governor, quiet, 50)
    run(governor, lambda threads: 0.04 / threads if threads <= 5 else 0.04 * (threads / 5) ** 2, 300)
    assert governor.threads <= 6


def test_one_thread_is_left_alone() -> None:
    changes: list[int] = []
    governor = ThreadGovernor(1, changes.append)
    run(governor, lambda _threads: 0.1, 100)
    assert changes == []


@pytest.mark.parametrize("tokens", [10, 40])
def test_reset_goes_back_to_what_was_asked_for(tokens: int) -> None:
    changes: list[int] = []
    governor = ThreadGovernor(2, changes.append)
    run(governor, busy, tokens)
    assert governor.threads == 1
    governor.reset()
    assert governor.threads == 2
    assert changes[-1] == 2
    governor.reset()
    assert len(changes) == 2
