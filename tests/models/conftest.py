"""A loopback hub with one model file, and where the store would put it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mixchat.models.hub import Hub, RemoteFile
from mixchat.store.places import Places
from tests.fakes.downloads import QUICK, Scene, gguf
from tests.fakes.hub import FakeHub


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub
    assert hub.errors == []


@pytest.fixture
def hub(fake: FakeHub) -> Hub:
    return Hub(fake.endpoint, patience=QUICK)


@pytest.fixture
def file(fake: FakeHub) -> RemoteFile:
    return fake.add("o/n", "m.gguf", gguf())


@pytest.fixture
def folder(places: Places) -> Path:
    return places.models / "m"


@pytest.fixture
def scene(fake: FakeHub, hub: Hub, file: RemoteFile, places: Places, folder: Path) -> Scene:
    return Scene(fake, hub, file, places, folder)
