"""`mixchat cache`, as a user runs it."""

import json
import os
from pathlib import Path

import pytest

from mixchat.store.locks import hold
from mixchat.store.places import Places, find_places
from mixchat.store.prompt_cache import entries, writing
from mixchat.store.session_file import lock_path
from mixchat.store.snapshots import list_snapshots, snapshot_path
from tests.command import Command

CHATS = ("20261122-0455-aaaa", "20261122-0456-bbbb")
USED = 1_764_000_000


@pytest.fixture
def kept(bare: Command) -> Places:
    """The folders of the command, with a prompt and two chats."""
    places = find_places({"MIXCHAT_HOME": bare.environ["MIXCHAT_HOME"]})
    with writing(places, "a model", range(300)) as place:
        assert place is not None
        place.path.write_bytes(bytes(5000))
    os.utime(place.path, (USED, USED))
    for index, session in enumerate(CHATS):
        path = snapshot_path(places, session, make_folder=True)
        path.write_bytes(bytes(2000))
        os.utime(path, (USED + 60 + index, USED + 60 + index))
    return places


def test_nothing_kept(bare: Command, tmp_path: Path) -> None:
    result = bare.run("cache")
    assert (result.code, result.stdout, result.errors) == (0, b"", ["Nothing is kept yet."])
    assert bare.run("cache", "-q").stderr == b""
    assert json.loads(bare.run("cache", "--json").text) == {"prompts": [], "chats": [], "bytes": 0}
    cleared = bare.run("cache", "--clear")
    assert (cleared.code, cleared.text) == (0, "Removed what was kept of 0 prompts and 0 chats (0 B).\n")
    assert not (tmp_path / "home").exists()


def test_the_list(bare: Command, kept: Places) -> None:
    result = bare.run("cache", env={"TZ": "UTC"})
    (name,) = (each.name for each in entries(kept))
    assert (result.code, result.stderr) == (0, b"")
    heading, *rows = result.text.splitlines()
    assert heading == "kept                     tokens      size  last use"
    assert [" ".join(row.split()) for row in rows] == [
        f"prompt {name[-8:]} 300 6.1 KiB 2025-11-24 16:00",
        "chat 20261122-0456-bbbb - 2.0 KiB 2025-11-24 16:01",
        "chat 20261122-0455-aaaa - 2.0 KiB 2025-11-24 16:01",
        "all - 10.0 KiB -",
    ]
    narrow = bare.run("cache", env={"COLUMNS": "30"}).text.splitlines()
    assert narrow[0] == heading, "into a pipe nothing is wrapped"


def test_json(bare: Command, kept: Places) -> None:
    found = json.loads(bare.run("cache", "--json").text)
    (prompt,) = entries(kept)
    assert found["prompts"] == [
        {"id": prompt.name, "tokens": 300, "bytes": 6200, "last_used": "2025-11-24T16:00:00+00:00"}
    ]
    assert [each["session"] for each in found["chats"]] == [*reversed(CHATS)]
    assert found["bytes"] == 6200 + 2 * 2000


def test_clearing_leaves_what_an_open_chat_needs(bare: Command, kept: Places) -> None:
    with hold(lock_path(kept, CHATS[0])):
        cleared = bare.run("cache", "--clear")
    assert (cleared.code, cleared.stderr) == (0, b"")
    assert cleared.text == "Removed what was kept of 1 prompt and 1 chat (8.0 KiB).\n"
    assert entries(kept) == ()
    assert [each.session for each in list_snapshots(kept)] == [CHATS[0]]
    cleared = bare.run("cache", "--clear", "--json")
    assert json.loads(cleared.text) == {"prompts": 0, "chats": 1, "bytes": 2000}
    assert bare.run("cache", "--clear", "-q").stdout == b""


def test_what_cannot_be_removed_is_an_error(bare: Command, kept: Places) -> None:
    path = kept.cache / "prompts" / f"{entries(kept)[0].name}.tokens"
    path.parent.chmod(0o500)
    try:
        if os.access(path.parent, os.W_OK):
            pytest.skip("permissions do not bind this user")
        cleared = bare.run("cache", "--clear")
    finally:
        path.parent.chmod(0o700)
    assert cleared.code == 12
    assert "cannot be removed" in cleared.errors[0]
