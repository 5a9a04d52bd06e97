"""States of prompts' beginnings: which serves a prompt, which go, and what damage and other processes do."""

import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mixchat.errors import OutputError
from mixchat.store.locks import hold
from mixchat.store.places import Places
from mixchat.store.prompt_cache import Removed, clear, entries, mark_used, matches, prune, remove, writing

MODEL = "a model and how it is loaded"
PROMPT = tuple(range(1000))


def kept(places: Places, tokens: tuple[int, ...], used: int = 0, *, state: bytes = b"state", model: str = MODEL) -> str:
    """Keep a state; returns its name."""
    with writing(places, model, tokens) as place:
        assert place is not None
        place.path.touch(0o600)
        place.path.write_bytes(state)
    if used:
        os.utime(place.path, (used, used))
    return place.name


def found(places: Places, tokens: tuple[int, ...], model: str = MODEL) -> list[tuple[int, int]]:
    return [(each.shared, each.tokens) for each in matches(places, model, tokens)]


def names(places: Places) -> set[str]:
    folder = places.cache / "prompts"
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"} if folder.exists() else set()


def test_nothing_there_is_nothing_to_do(places: Places) -> None:
    assert matches(places, MODEL, PROMPT) == ()
    assert entries(places) == ()
    assert prune(places, 0) == clear(places) == Removed(0, 0)
    mark_used(places, "none")
    remove(places, "none")
    assert not places.cache.exists()


def test_what_is_kept_is_private(places: Places) -> None:
    name = kept(places, PROMPT)
    assert names(places) == {f"{name}.kv", f"{name}.tokens"}
    assert stat.S_IMODE((places.cache / "prompts").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (places.cache / "prompts").iterdir()} == {0o600}
    (entry,) = entries(places)
    assert (entry.name, entry.tokens, entry.nbytes) == (name, 1000, 4000 + len(b"state"))
    (match,) = matches(places, MODEL, PROMPT)
    assert match.path.read_bytes() == b"state"


def test_the_one_that_shares_the_most_comes_first_and_the_shortest_of_these(places: Places) -> None:
    kept(places, PROMPT[:300])
    kept(places, PROMPT)
    kept(places, (*PROMPT, 7, 8))
    kept(places, (*PROMPT[:600], *[5] * 100))
    kept(places, (9, *PROMPT))
    assert found(places, PROMPT) == [(1000, 1000), (1000, 1002), (600, 700), (300, 300)]
    assert found(places, (*PROMPT, 7)) == [(1001, 1002), (1000, 1000), (600, 700), (300, 300)]
    assert found(places, PROMPT[:1]) == [(1, 300), (1, 700), (1, 1000), (1, 1002)]
    assert found(places, (3,)) == found(places, ()) == []


def test_other_conditions_share_nothing(places: Places) -> None:
    kept(places, PROMPT)
    assert found(places, PROMPT, "another model") == []
    kept(places, PROMPT[:10], model="another model")
    assert found(places, PROMPT, "another model") == [(10, 10)]


def test_shared_beginnings_are_counted_right(places: Places) -> None:
    chance = random.Random(6)
    for _ in range(60):
        one = tuple(chance.randrange(3) for _ in range(chance.randrange(1, 40)))
        other = tuple(chance.randrange(3) for _ in range(chance.randrange(1, 40)))
        kept(places, one)
        shared = next(
            (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        assert found(places, other) == ([(shared, len(one))] if shared else [])
        clear(places)


def test_what_is_kept_already_is_not_written_again(places: Places) -> None:
    kept(places, PROMPT)
    with writing(places, MODEL, PROMPT) as place:
        assert place is None


def test_a_block_that_fails_or_writes_nothing_keeps_nothing(places: Places) -> None:
    with pytest.raises(RuntimeError), writing(places, MODEL, PROMPT) as place:
        assert place is not None
        place.path.write_bytes(b"whole")
        raise RuntimeError
    assert entries(places) == ()
    with writing(places, MODEL, PROMPT[:5]) as place:
        assert place is not None
    prune(places, 1 << 30)
    assert names(places) == set()


def test_the_least_recently_used_goes_first_and_the_newest_last(places: Places) -> None:
    used = {number: kept(places, (number,) * 10, number, state=bytes(60)) for number in (1, 2, 3)}
    mark_used(places, used[1])
    assert [each.name for each in entries(places)] == [used[1], used[3], used[2]]
    assert prune(places, 299) == Removed(1, 100)
    assert {each.name for each in entries(places)} == {used[1], used[3]}
    assert prune(places, 100, keep=used[3]) == Removed(1, 100)
    assert [each.name for each in entries(places)] == [used[3]]
    assert prune(places, 99, keep=used[3]) == Removed(1, 100)
    assert names(places) == set()


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "longer", "unreadable", "link", "gone"])
def test_damaged_tokens_are_no_match(places: Places, damage: str, tmp_path: Path) -> None:
    name = kept(places, PROMPT)
    path = places.cache / "prompts" / f"{name}.tokens"
    content = path.read_bytes()
    changed = {"cut": content[:-3], "changed": b"\1" + content[1:], "empty": b"", "longer": content + b"1234"}
    path.unlink()
    if damage in changed:
        path.write_bytes(changed[damage])
    elif damage == "unreadable":
        path.mkdir()
    elif damage == "link":
        (tmp_path / "tokens").write_bytes(content)
        path.symlink_to(tmp_path / "tokens")
    assert found(places, PROMPT) == []
    if damage == "unreadable":
        path.rmdir()
    prune(places, 0)
    assert f"{name}.kv" not in names(places)


def test_leftovers_go_unless_somebody_may_be_writing_them(places: Places) -> None:
    whole, open_, killed = (kept(places, (number,) * 10) for number in (1, 2, 3))
    folder = places.cache / "prompts"
    for name in (whole, open_, killed):
        (folder / f".{name}.kv.12ab.tmp").write_bytes(b"half")
        (folder / f".{name}.tokens.12ab.tmp").write_bytes(b"half")
    (folder / f"{killed}.tokens").unlink()
    (folder / f"{open_}.tokens").unlink()
    (folder / "notes.txt").touch()
    with hold(folder / f"{open_[-2:]}.lock"):
        prune(places, 1 << 30)
        mine = {f"{open_}.kv", f".{open_}.kv.12ab.tmp", f".{open_}.tokens.12ab.tmp"}
        assert names(places) == {f"{whole}.kv", f"{whole}.tokens", "notes.txt", *mine}
    clear(places)
    assert names(places) == {"notes.txt"}


def test_who_comes_while_another_writes_goes_on_without_writing(places: Places) -> None:
    with writing(places, MODEL, PROMPT) as first, writing(places, MODEL, PROMPT) as second:
        assert first is not None
        assert second is None
        first.path.write_bytes(b"state")
    assert found(places, PROMPT) == [(1000, 1000)]


def test_what_cannot_be_written_or_removed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(places, PROMPT)

    def refused(_path: Path, **_options: bool) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refused)
        assert prune(places, 0) == Removed(0, 0)
        with pytest.raises(OutputError, match="cannot be removed"):
            clear(places)
    clear(places)
    shutil.rmtree(places.cache / "prompts")
    (places.cache / "prompts").touch()
    assert entries(places) == ()
    with pytest.raises(OutputError), writing(places, MODEL, PROMPT):
        pass


_WRITER = """
import os, sys, time
from pathlib import Path
from mixchat.store.atomic import write_atomic
from mixchat.store.places import find_places
from mixchat.store.prompt_cache import entries, mark_used, matches, prune, writing

places = find_places(os.environ)
written = 0
for round_ in range(6):
    tokens = tuple(range(round_, round_ + 300))
    best = next(iter(matches(places, "m", tokens)), None)
    if best is None or best.tokens != best.shared:
        with writing(places, "m", tokens) as place:
            if place is not None:
                write_atomic(place.path, b"%d" % round_ * 1000)
                written += 1
                time.sleep(0.002)
    for each in matches(places, "m", tokens):
        mark_used(places, each.name)
        assert each.path.read_bytes() == b"%d" % round_ * 1000
    prune(places, 1 << 30)
print(written)
"""


def test_eight_processes_with_the_same_prompts_do_not_fight(places: Places) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", _WRITER], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    ended = [process.communicate(timeout=60) for process in started]
    assert [error.decode() for _out, error in ended if error] == []
    assert sum(int(out) for out, _error in ended) == 6, "nothing is written twice"
    assert [each.tokens for each in entries(places)] == [300] * 6
    assert len(names(places)) == 2 * 6
