"""Small steps of the tests that keep and restore KV states."""

from pathlib import Path

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest, StateKept, StateKey
from tests.engine.steps import chatml, greedy

KEY = StateKey("demo, 2 experts")
STORY = "The keeper of the lighthouse counted the ships that passed in the night and wrote their names down. " * 15


def story(client: WorkerClient) -> tuple[int, ...]:
    """A prompt of more than 256 and less than 512 tokens."""
    return chatml(client, STORY)


def kept_story(client: WorkerClient, path: Path, length: int = 512) -> Path:
    """A file with the state of the story's first tokens."""
    tokens = story(client)[:length]
    greedy(client, tokens, 1)
    assert client.keep_state(str(path), KEY) == StateKept(len(tokens), path.stat().st_size)
    return path


def load(client: WorkerClient, model: Path, context: int = 512, **fields: object) -> None:
    """Load a model."""
    request = LoadRequest(str(model), context, **{"threads": 2, "read_ahead": False, **fields})  # type: ignore[arg-type]
    list(client.load(request))


def copied(kept: Path, path: Path) -> Path:
    """A copy that only its owner can write."""
    path.touch(0o600)
    path.write_bytes(kept.read_bytes())
    return path


def refusal(client: WorkerClient, path: Path, key: StateKey = KEY) -> str:
    """Why a state is not used."""
    restored = client.restore_state(str(path), key)
    assert restored.tokens == 0
    assert restored.reason
    return restored.reason
