from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest
from tests.builders import tiny_moe


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_moe(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture
def client() -> Iterator[WorkerClient]:
    """A worker of the test's own."""
    import os

    with closing(WorkerClient(os.environ)) as started:
        yield started


@pytest.fixture(scope="module")
def demo(demo_model: Path) -> Iterator[WorkerClient]:
    """A worker with the demo model loaded, shared by a module's tests; none of them may end it."""
    import os

    with closing(WorkerClient(os.environ)) as started:
        list(started.load(LoadRequest(str(demo_model), context=4096, threads=2)))
        yield started
