from pathlib import Path

import pytest

from mixchat.engine.worker import read_ahead as module
from mixchat.engine.worker.read_ahead import read_ahead


def _file(tmp_path: Path, size: int) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    return path


@pytest.mark.parametrize(("size", "steps"), [(0, []), (1, [1.0]), (9000, [4096 / 9000, 8192 / 9000, 1.0])])
def test_progress_follows_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, steps: list[float]
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 4096)
    seen: list[float] = []
    assert read_ahead(_file(tmp_path, size), lambda fraction: not seen.append(fraction))  # type: ignore[func-returns-value]
    assert seen == steps


def test_it_stops_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 4096)
    seen: list[float] = []

    def go_on(fraction: float) -> bool:
        seen.append(fraction)
        return len(seen) < 2

    assert not read_ahead(_file(tmp_path, 100_000), go_on)
    assert len(seen) == 2


def test_what_is_cached_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, 100_000)
    path.read_bytes()
    reads: list[int] = []
    monkeypatch.setattr("os.preadv", lambda *_arguments: reads.append(1))
    assert read_ahead(path, lambda _fraction: True)
    assert reads == []
    monkeypatch.setattr(module, "_resident", lambda *_arguments: False)
    assert read_ahead(path, lambda _fraction: True)
    assert reads == [1]
