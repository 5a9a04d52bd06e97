"""Kept states that are damaged, or that somebody else may have written."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.snapshot import Unusable
from mixchat.engine.worker import snapshots as module
from mixchat.engine.worker.snapshots import mapped, populate
from tests.engine.states import KEY, copied, kept_story, refusal, story
from tests.engine.steps import greedy

Damage = Callable[[Random, bytes], bytes]


def flipped(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 50))):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(random: Random, data: bytes) -> bytes:
    return data[: random.choice((0, 1, 15, 16, 400, len(data) - 1, random.randrange(len(data))))]


def extended(random: Random, data: bytes) -> bytes:
    return data + random.randbytes(random.choice((1, 7, 4096)))


def zeroed(random: Random, data: bytes) -> bytes:
    start, length = random.randrange(len(data) - 4096), random.choice((16, 512, 4096))
    return data[:start] + bytes(length) + data[start + length :]


def swapped(_random: Random, data: bytes) -> bytes:
    half = len(data) // 2
    return data[half:] + data[:half]


def moved(random: Random, data: bytes) -> bytes:
    """Two blocks of the state change places."""
    one, two = sorted(random.sample(range(1, len(data) // 4096 - 1), 2))
    blocks = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    blocks[one], blocks[two] = blocks[two], blocks[one]
    return b"".join(blocks)


def edited(random: Random, data: bytes) -> bytes:
    """The header says something else, and its checksum stays."""
    changes = (
        (b'"kv_type":"f16"', b'"kv_type":"q80"'),
        (b'"stretched":false', b'"stretched":true'),
        (b'"build":"', b'"build":"0'),
        (b'"tokens":60', b'"tokens":59'),
        (b'"tokens":60', b'"tokens":-6'),
        (b'"state":', b'"state":9'),
        (b'"state":', b'"state":9999999999'),
        (b'"model":"demo', b'"model":"demO'),
        (b'"sha256":"', b'"sha256":"00'),
        (b"{", b"[{"),
        (b"mixchat\0\1", b"mixchat\0\2"),
        (b"mixchat", b"ggsqggs"),
    )
    old, new = random.choice(changes)
    assert old in data
    return data.replace(old, new, 1)


def in_the_header(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[random.randrange(300)] = random.randrange(256)
    return bytes(changed)


def test_200_damaged_states_are_all_refused_and_the_engine_lives(demo: WorkerClient, tmp_path: Path) -> None:
    whole = kept_story(demo, tmp_path / "whole", 60)
    data, path, pid, prompt = whole.read_bytes(), copied(whole, tmp_path / "state"), demo.pid, story(demo)
    damages: tuple[Damage, ...] = (flipped, cut, extended, zeroed, swapped, moved, edited, in_the_header)
    for number in range(200):
        random = Random(number)
        damage = damages[number % len(damages)]
        changed = damage(random, data)
        if changed == data:  # blocks that were equal before
            changed = flipped(random, data)
        path.write_bytes(changed)
        assert refusal(demo, path), (number, damage.__name__)
        if number % 25 == 0:
            assert greedy(demo, prompt[:20], 2)[2].usage.cached_tokens == 0
    assert demo.pid == pid
    assert demo.restore_state(str(whole), KEY).tokens == 60
    assert greedy(demo, prompt[:60], 2)[2].usage.cached_tokens == 59


def test_a_header_that_is_cut_anywhere_is_refused(demo: WorkerClient, tmp_path: Path) -> None:
    path = kept_story(demo, tmp_path / "state", 20)
    data = path.read_bytes()
    for length in range(data.index(b"}") + 2):
        path.write_bytes(data[:length])
        assert refusal(demo, path), length


def test_only_a_file_that_nobody_else_can_write_is_used(demo: WorkerClient, tmp_path: Path) -> None:
    path = kept_story(demo, tmp_path / "state", 20)
    path.chmod(0o620)
    assert "only you can write" in refusal(demo, path)
    (tmp_path / "link").symlink_to(path)
    assert "cannot be read" in refusal(demo, tmp_path / "link")
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "only you can write" in refusal(demo, tmp_path / "fifo")
    assert "cannot be read" in refusal(demo, tmp_path)
    assert "cannot be read" in refusal(demo, Path("/nul\0byte"))
    empty = tmp_path / "empty"
    empty.touch(0o600)
    assert "cannot be read" in refusal(demo, empty)


def test_a_file_that_shrinks_while_it_is_mapped_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.touch(0o600)
    path.write_bytes(bytes(1 << 16))
    with mapped(str(path)) as (data, _address):
        populate(data, lambda: False)
        os.truncate(path, 4096)
        with pytest.raises(Unusable, match="from the disk"):
            populate(data, lambda: False)


def test_a_kernel_that_cannot_bring_files_into_memory_is_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    path.touch(0o600)
    path.write_bytes(b"x" * 9)
    monkeypatch.setattr(module, "_POPULATE_READ", 9999)
    with mapped(str(path)) as (data, _address):
        populate(data, lambda: False)
        assert bytes(data) == b"x" * 9
