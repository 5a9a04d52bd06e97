"""The worker as a process: started, told, killed, ended."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from mixchat.engine.client import WorkerClient, worker_environment
from mixchat.engine.events import GenerateRequest, Loaded, Loading, LoadRequest, Prefilling, Token
from mixchat.errors import BadModel, EngineDied, EngineError
from tests.builders import sparse_file, tiny_moe
from tests.engine.steps import GREEDY, chatml, greedy


def test_the_environment_holds_no_secrets_and_spins_briefly() -> None:
    ours = worker_environment({"HF_TOKEN": "x", "MIXCHAT_TOKEN": "y", "PATH": "/bin"})
    assert ours == {"PATH": "/bin", "GOMP_SPINCOUNT": "1000", "GGML_NO_BACKTRACE": "1", "PYTHONUTF8": "1"}


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_the_users_own_spinning_stays(name: str) -> None:
    assert {**worker_environment({name: "7"}), "GGML_NO_BACKTRACE": "", "PYTHONUTF8": ""} == {
        name: "7",
        "GGML_NO_BACKTRACE": "",
        "PYTHONUTF8": "",
    }


def test_nothing_starts_before_it_is_asked(client: WorkerClient) -> None:
    assert client.pid is None
    assert client.devices()[0].kind == "cpu"
    assert client.pid is not None


def test_the_front_never_maps_libllama_and_the_worker_does(client: WorkerClient, tiny: Path) -> None:
    list(client.load(LoadRequest(str(tiny), context=256)))
    assert client.pid is not None
    assert "libllama" in Path(f"/proc/{client.pid}/maps").read_text()
    code = (
        "import os,sys; from mixchat.engine.client import WorkerClient; c = WorkerClient(os.environ); c.devices();"
        "maps = open('/proc/self/maps').read(); c.close();"
        "sys.exit('libllama' in maps or 'llama_cpp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_buffers_are_reported(client: WorkerClient, tiny: Path) -> None:
    *events, loaded = client.load(LoadRequest(str(tiny), context=300, load_mode="copy"))
    assert isinstance(loaded, Loaded)
    assert loaded.context == 512
    sizes = {(buffer.device, buffer.holds): buffer.nbytes for buffer in loaded.buffers}
    # Two layers, keys and values of 128 each as halves, for 512 tokens; the log rounds to 10 KiB.
    assert sizes["CPU", "kv"] == pytest.approx(2 * 512 * 2 * 2 * 128, rel=0.02)
    assert any(holds == "model" for _device, holds in sizes)
    assert any(holds == "compute" for _device, holds in sizes)
    assert [event for event in events if isinstance(event, Loading)]


def test_progress_runs_from_start_to_end(client: WorkerClient, demo_model: Path) -> None:
    events = list(client.load(LoadRequest(str(demo_model), context=256)))
    fractions = [event.fraction for event in events if isinstance(event, Loading)]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.2
    assert fractions[-1] == pytest.approx(1.0, abs=0.01)


def test_a_file_that_llama_cpp_refuses_is_explained(client: WorkerClient, tmp_path: Path) -> None:
    whole = tiny_moe(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadModel, match=r"llama.cpp cannot load the model: .*(file bounds|corrupted|incomplete)"):
        list(client.load(LoadRequest(str(tmp_path / "cut.gguf"))))
    assert isinstance(list(client.load(LoadRequest(str(tmp_path / "whole.gguf"))))[-1], Loaded)


def test_a_missing_tensor_is_named(client: WorkerClient, tmp_path: Path) -> None:
    whole = tiny_moe(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "renamed.gguf").write_bytes(whole.replace(b"ffn_down_exps", b"ffn_dawn_exps"))
    with pytest.raises(BadModel, match="ffn_down_exps"):
        list(client.load(LoadRequest(str(tmp_path / "renamed.gguf"))))


def test_asking_without_a_model_is_an_error(client: WorkerClient) -> None:
    with pytest.raises(EngineError, match="No model is loaded"):
        client.tokenize((), prompt=True)
    with pytest.raises(EngineError, match="No model is loaded"):
        list(client.generate(GenerateRequest((1,))))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGBUS, signal.SIGABRT])
def test_a_worker_killed_while_it_decodes_is_named(
    client: WorkerClient, demo_model: Path, number: signal.Signals
) -> None:
    list(client.load(LoadRequest(str(demo_model), context=1024, threads=2)))
    prompt = chatml(client, "Tell a long story.")
    with pytest.raises(EngineDied, match=f"killed by {number.name} while generating: ") as caught:
        for event in client.generate(GenerateRequest(prompt, GREEDY, 500)):
            if isinstance(event, Token):
                _kill(client, number)
    assert caught.value.exit_code == 6
    assert caught.value.signal == number
    list(client.load(LoadRequest(str(demo_model), context=1024, threads=2)))
    assert greedy(client, prompt, 2)[2].usage.completion_tokens == 2


def test_a_worker_killed_while_it_prefills_is_named(client: WorkerClient, demo_model: Path) -> None:
    list(client.load(LoadRequest(str(demo_model), context=4096, threads=2)))
    prompt = (chatml(client, "words") * 500)[:3000]
    with pytest.raises(EngineDied, match="killed by SIGSEGV while evaluating the prompt"):
        for event in client.generate(GenerateRequest(prompt, GREEDY, 5)):
            if isinstance(event, Prefilling) and event.done:
                _kill(client, signal.SIGSEGV)


def test_a_worker_killed_while_it_loads_is_named(client: WorkerClient, demo_model: Path) -> None:
    with pytest.raises(EngineDied, match="killed by SIGSEGV while loading the model"):
        for _event in client.load(LoadRequest(str(demo_model), load_mode="copy")):
            _kill(client, signal.SIGSEGV)


def test_a_file_cut_while_it_is_mapped_is_a_sigbus_and_explained(client: WorkerClient, tmp_path: Path) -> None:
    path = tiny_moe(tmp_path / "model.gguf")
    list(client.load(LoadRequest(str(path), context=256, extra_buffers=False)))
    with path.open("r+b") as file:
        file.truncate(4096)
    with pytest.raises(EngineDied, match=r"SIGBUS.*the model file changed"):
        list(client.generate(GenerateRequest(tuple(range(1, 60)), GREEDY, 4)))


def test_a_bug_in_the_worker_is_named_by_its_last_line(client: WorkerClient) -> None:
    with pytest.raises(EngineDied, match=r"The engine ended while looking .*ProtocolError"):
        client._one("no message at all", "looking")


def test_a_worker_ends_at_a_frame_that_it_does_not_understand(client: WorkerClient) -> None:
    client.devices()
    assert client._process is not None
    assert client._process.stdin is not None
    os.write(client._process.stdin.fileno(), (2).to_bytes(4, "big") + b"{}")
    assert client._process.wait(5) == 1
    assert "malformed frame" in client.log()


def test_closing_ends_the_worker_at_once(client: WorkerClient, demo_model: Path) -> None:
    list(client.load(LoadRequest(str(demo_model), context=4096, threads=2)))
    events = client.generate(GenerateRequest((chatml(client, "words") * 300)[:3000], GREEDY, 5))
    next(events)
    process = psutil.Process(client.pid)
    client.close()
    assert not process.is_running()


def test_a_worker_ends_when_its_front_is_killed(demo_model: Path) -> None:
    code = (
        "import os,sys,time; from mixchat.engine.client import WorkerClient;"
        "from mixchat.engine.events import *; c = WorkerClient(os.environ);"
        "list(c.load(LoadRequest(sys.argv[1], context=4096, threads=2)));"
        "g = c.generate(GenerateRequest(tuple(range(100, 3100)))); next(g); print(c.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(demo_model)], stdout=subprocess.PIPE) as front:
        assert front.stdout is not None
        worker = psutil.Process(int(front.stdout.readline()))
        front.kill()
    worker.wait(timeout=10)


def test_a_stopped_worker_ends_by_close() -> None:
    with closing(WorkerClient(os.environ)) as client:
        client.devices()
        assert client.pid is not None
        process = psutil.Process(client.pid)
        process.suspend()
        client.close()
    assert not process.is_running()


def test_a_folder_named_llama_cpp_in_the_current_folder_is_not_imported(
    client: WorkerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llama_cpp").mkdir()
    (tmp_path / "llama_cpp" / "__init__.py").write_text("raise SystemExit('hijacked')")
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert client.devices()


def test_libraries_that_print_do_not_reach_the_protocol(client: WorkerClient, tiny: Path) -> None:
    list(client.load(LoadRequest(str(tiny), context=256)))
    assert "llama_model_loader" in client.log()


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    from tests.builders import mixtral_header

    return sparse_file(tmp_path / "mixtral.gguf", mixtral_header("static/Q4_K_M"))


def test_reading_ahead_a_large_file_can_be_interrupted(client: WorkerClient, sparse: Path) -> None:
    events = client.load(LoadRequest(str(sparse), context=256))
    first = next(events)
    assert isinstance(first, Loading)
    started = time.monotonic()
    client.interrupt()
    assert not any(isinstance(event, Loaded) for event in events)
    assert time.monotonic() - started < 10, "a hang"


def _kill(client: WorkerClient, number: signal.Signals) -> None:
    if client.pid is not None:
        os.kill(client.pid, number)
