"""KV snapshots: where they lie, and which go when they exceed their budget."""

import os
import stat
from pathlib import Path

import pytest

from mixchat.errors import OutputError
from mixchat.store.locks import hold
from mixchat.store.places import Places
from mixchat.store.session_file import lock_path
from mixchat.store.snapshots import (
    Pruned,
    clear_snapshots,
    list_snapshots,
    mark_used,
    prune,
    remove_snapshot,
    snapshot_path,
    total,
)

IDS = tuple(f"20261122-045{number}-aaaa" for number in range(5))


def written(places: Places, sizes: dict[int, int]) -> None:
    """Snapshots of so many bytes, each used later than the one before."""
    for used, (number, size) in enumerate(sizes.items(), start=1):
        path = snapshot_path(places, IDS[number], make_folder=True)
        path.write_bytes(bytes(size))
        os.utime(path, (used, used))


def left(places: Places) -> list[int]:
    return [number for number, each in enumerate(IDS) if snapshot_path(places, each).exists()]


def test_they_lie_in_a_private_folder_of_the_cache(places: Places) -> None:
    path = snapshot_path(places, IDS[0])
    assert path == places.cache / "kv" / f"{IDS[0]}.kv"
    assert not places.cache.exists()
    assert snapshot_path(places, IDS[0], make_folder=True) == path
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(ValueError, match="name"):
        snapshot_path(places, "../name")


def test_nothing_there_is_nothing_to_do(places: Places) -> None:
    assert total(places) == 0
    assert prune(places, 0, IDS[0]) == Pruned((), 0, kept=False)
    mark_used(places, IDS[0])
    remove_snapshot(places, IDS[0])
    assert not places.cache.exists()


@pytest.mark.parametrize(
    ("budget", "stay", "kept"),
    [
        (100, [0, 1, 2, 3], True),
        (99, [1, 2, 3], True),
        (90, [1, 2, 3], True),
        (89, [2, 3], True),
        (40, [3], True),
        (39, [1], False),
        (20, [1], False),
        (0, [], False),
    ],
)
def test_the_least_recently_used_goes_first(places: Places, budget: int, stay: list[int], kept: bool) -> None:
    written(places, {0: 10, 2: 30, 1: 20, 3: 40})
    os.utime(snapshot_path(places, IDS[1]), (2, 2))
    os.utime(snapshot_path(places, IDS[2]), (3, 3))
    if budget in {39, 20}:
        os.utime(snapshot_path(places, IDS[1]), (9, 9))
    result = prune(places, budget, IDS[3])
    assert left(places) == stay
    assert (result.kept, result.nbytes) == (kept, total(places))
    assert result.nbytes <= budget
    assert {IDS.index(each) for each in result.removed} == {0, 1, 2, 3} - set(stay)


def test_what_is_too_large_by_itself_takes_no_other_with_it(places: Places) -> None:
    written(places, {0: 10, 1: 20, 2: 1000})
    assert prune(places, 50, IDS[2]) == Pruned((IDS[2],), 30, kept=False)
    assert left(places) == [0, 1]


def test_using_one_keeps_it(places: Places) -> None:
    written(places, {0: 10, 1: 10, 2: 10})
    mark_used(places, IDS[0])
    assert prune(places, 20, IDS[2]).removed == (IDS[1],)


def test_other_files_are_left_alone_and_not_counted(places: Places) -> None:
    written(places, {0: 10})
    folder = places.cache / "kv"
    (folder / "notes.kv").write_bytes(bytes(99))
    (folder / "notes.txt").write_bytes(bytes(99))
    (folder / f"{IDS[1]}.kv").symlink_to(folder / "notes.txt")
    assert total(places) == 10
    assert prune(places, 0, IDS[2]).removed == (IDS[0],)
    assert {path.name for path in folder.iterdir()} == {"notes.kv", "notes.txt", f"{IDS[1]}.kv"}


def test_leftovers_go_unless_somebody_may_be_writing_them(places: Places) -> None:
    folder = snapshot_path(places, IDS[0], make_folder=True).parent
    for each in IDS[:4]:
        (folder / f".{each}.kv.12ab.tmp").write_bytes(b"half")
    (folder / ".other.tmp").write_bytes(b"")
    with hold(lock_path(places, IDS[0])), hold(lock_path(places, IDS[1])):
        with hold(lock_path(places, IDS[2])):
            pass
        prune(places, 100, IDS[0])
        assert {path.name for path in folder.iterdir()} == {f".{IDS[1]}.kv.12ab.tmp", ".other.tmp"}
    remove_snapshot(places, IDS[1])
    assert {path.name for path in folder.iterdir()} == {".other.tmp"}


def test_what_cannot_be_removed_is_told_by_remove_and_passed_over_by_prune(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(places, {0: 10})

    def refused(_path: Path, **_options: bool) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refused)
    assert prune(places, 0, IDS[0]) == Pruned((), 10, kept=True)
    with pytest.raises(OutputError, match="cannot be removed"):
        remove_snapshot(places, IDS[0])


def test_clearing_removes_those_of_closed_sessions_and_leftovers(places: Places) -> None:
    assert clear_snapshots(places) == ()
    written(places, {0: 10, 1: 20, 2: 30})
    folder = places.cache / "kv"
    (folder / f".{IDS[3]}.kv.12ab.tmp").write_bytes(b"half")
    assert [(each.session, each.nbytes) for each in list_snapshots(places)] == [
        (IDS[2], 30),
        (IDS[1], 20),
        (IDS[0], 10),
    ]
    with hold(lock_path(places, IDS[1])):
        assert [each.session for each in clear_snapshots(places)] == [IDS[2], IDS[0]]
    assert [path.name for path in folder.iterdir()] == [f"{IDS[1]}.kv"]
