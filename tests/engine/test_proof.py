"""The build proves itself, and one that fails with repacked weights is run without them."""

import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import mixchat.engine.proof as module
from mixchat.engine.build import build_identity
from mixchat.engine.client import WorkerClient
from mixchat.engine.proof import prove
from mixchat.errors import EngineError
from mixchat.store.places import Places
from mixchat.store.proofs import Proof

FAULTY = str(Path(__file__).parents[1] / "fakes" / "faulty_build")


def faulty(fault: str) -> Callable[[], WorkerClient]:
    return lambda: WorkerClient({**os.environ, "PYTHONPATH": FAULTY, "MIXCHAT_TEST_FAULT": fault})


def test_this_build_is_tested_once(places: Places) -> None:
    started: list[WorkerClient] = []

    def start() -> WorkerClient:
        started.append(WorkerClient(os.environ))
        return started[-1]

    first, new = prove(places, start)
    assert new
    assert len(started) == 2
    assert prove(places, start) == (first, False)
    assert len(started) == 2


def test_a_build_that_dies_with_repacked_weights_runs_without_them(places: Places) -> None:
    proof, new = prove(places, faulty("dies"))
    assert new
    assert not proof.extra_buffers
    assert "SIGSEGV" in proof.reason
    assert prove(places, faulty("dies")) == (proof, False)


def test_a_build_that_miscomputes_with_repacked_weights_runs_without_them(places: Places) -> None:
    proof, _new = prove(places, faulty("miscomputes"))
    assert not proof.extra_buffers
    assert "logits are off" in proof.reason


def test_a_build_that_does_not_run_at_all_is_an_error_and_is_not_remembered(places: Places) -> None:
    with pytest.raises(EngineError, match=r"does not run on this CPU\. The engine was killed by SIGSEGV"):
        prove(places, faulty("dead"))
    assert prove(places, faulty("dies"))[1]


def test_another_build_or_cpu_is_tested_again(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[bool] = []

    def run(_start: object, _path: str, *, extra_buffers: bool) -> tuple[float, float]:
        runs.append(extra_buffers)
        return 0.0, 1.0

    monkeypatch.setattr(module, "_run", run)
    start = lambda: WorkerClient({})  # noqa: E731 - never started
    assert prove(places, start) == (Proof(extra_buffers=True, reason=""), True)
    monkeypatch.setattr(module, "cpu_identity", lambda: "another")
    assert prove(places, start)[1]
    monkeypatch.setattr(module, "build_identity", lambda: "another")
    assert prove(places, start)[1]
    assert runs == [False, True] * 3


@pytest.mark.parametrize("extra", [(0.0, float("nan")), (0.0, 1.2)])
def test_odd_logits_are_no_proof(extra: tuple[float, float], places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_run", lambda _s, _p, *, extra_buffers: extra if extra_buffers else (0.0, 1.0))
    assert not prove(places, lambda: WorkerClient({}))[0].extra_buffers


def test_the_identity_changes_with_the_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = build_identity()
    assert before == build_identity()
    (tmp_path / "llama_cpp" / "lib").mkdir(parents=True)
    (tmp_path / "llama_cpp" / "lib" / "libllama.so").write_bytes(b"x")
    package = importlib.metadata.distribution("llama-cpp-python")
    monkeypatch.setattr(type(package), "locate_file", lambda _self, path: tmp_path / path)
    assert build_identity() != before


def test_a_folder_of_that_name_in_the_current_folder_is_not_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = build_identity()
    (tmp_path / "llama_cpp").mkdir()
    (tmp_path / "llama_cpp" / "__init__.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert build_identity() == before


def test_a_missing_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    with pytest.raises(EngineError, match="not installed"):
        build_identity()
