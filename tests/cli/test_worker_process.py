import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.command import Command, Result, Running, gone, wait_for, wait_for_busy

ENDLESS = ("--temperature", "5", "--top-k", "0", "--top-p", "1", "--min-p", "0")
MAPPED = sys.platform == "linux"


def crash(running: Running, when: str) -> Result:
    """Kill the worker by SIGSEGV at that moment and return what the command makes of it."""
    worker = running.worker()
    if when == "prefill":
        wait_for_busy(worker)
    elif when == "decode":
        assert running.read_some()
    worker.send_signal(signal.SIGSEGV)
    result = running.finish()
    wait_for(lambda: gone(worker), 2.0)
    return result


@pytest.mark.parametrize("when", ["start", "prefill", "decode"])
def test_a_crash_of_the_worker_is_two_lines_and_code_6(when: str, mixchat: Command) -> None:
    prompt = "word " * 4000 if when == "prefill" else "Write a story."
    with mixchat.start("ask", "-m", "demo", prompt, *ENDLESS) as running:
        result = crash(running, when)
    message, hint = result.errors
    assert (result.code, bool(result.stdout)) == (6, when == "decode")
    assert "killed by SIGSEGV while" in message
    assert "a fault inside llama.cpp" in message
    assert when != "decode" or "generating" in message
    assert "--debug" in hint


def test_a_crash_while_the_model_loads(mixchat: Command, demo_model: Path) -> None:
    def loading(worker: psutil.Process) -> bool:
        files = [file.path for file in worker.open_files()] + [mapped.path for mapped in worker.memory_maps()]
        return any(demo_model.name in path for path in files)

    with mixchat.start("ask", "-m", "demo", "hi", "--ctx", "8192", *ENDLESS) as running:
        worker = running.worker()
        wait_for(lambda: loading(worker))
        worker.send_signal(signal.SIGSEGV)
        result = running.finish()
    assert result.code == 6
    assert "killed by SIGSEGV while loading the model" in result.errors[0]


def test_a_crash_is_a_json_object_where_json_was_asked_for(mixchat: Command) -> None:
    with mixchat.start("ask", "-m", "demo", "hi", "--format", "json", *ENDLESS) as running:
        result = crash(running, "start")
    assert (result.code, result.stdout) == (6, b"")
    assert json.loads(result.stderr)["error"]["code"] == 6


def test_a_chat_in_a_pipe_answers_each_line(mixchat: Command) -> None:
    result = mixchat.run("chat", "demo", "--max-tokens", "4", "--temperature", "0", stdin=b"hi\nand you?\n")
    assert result.code == 0
    assert len([line for line in result.text.splitlines() if line]) == 2
    assert all(line.startswith("[cut off") for line in result.errors)


def test_a_chat_in_a_pipe_ends_with_a_crash(mixchat: Command) -> None:
    with mixchat.start("chat", "demo", *ENDLESS, stdin=subprocess.PIPE) as running:
        assert running.process.stdin is not None
        running.process.stdin.write(b"hi\nand you?\n")
        running.process.stdin.flush()
        result = crash(running, "decode")
    assert (result.code, len(result.errors)) == (6, 2)
    assert "SIGSEGV while generating" in result.errors[0]


@pytest.mark.skipif(not MAPPED, reason="reads /proc")
def test_the_front_never_maps_libllama_and_the_worker_has_no_secrets(mixchat: Command) -> None:
    secrets = {"HF_TOKEN": "hf_secret", "HUGGING_FACE_HUB_TOKEN": "hf_secret", "MIXCHAT_TOKEN": "secret"}
    command = Command(Path(mixchat.environ["MIXCHAT_HOME"]), mixchat.folder)
    command.environ |= mixchat.environ | secrets | {"KEPT": "yes"}
    with command.start("ask", "-m", "demo", "Write a story.", *ENDLESS) as running:
        worker = running.worker()
        assert running.read_some()
        front = psutil.Process(running.pid)
        assert not [mapped.path for mapped in front.memory_maps() if "llama" in mapped.path or "ggml" in mapped.path]
        assert [mapped.path for mapped in worker.memory_maps() if "libllama" in mapped.path]
        environ = worker.environ()
        assert not [name for name, value in environ.items() if "secret" in value]
        assert (environ["KEPT"], environ["GGML_NO_BACKTRACE"], environ["GOMP_SPINCOUNT"]) == ("yes", "1", "1000")


def test_a_package_in_the_current_folder_is_not_imported(mixchat: Command, tmp_path: Path) -> None:
    for name in ("llama_cpp", "jinja2", "mixchat_hostile"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a hostile package was imported')\n")
    script = Path(sys.executable).with_name("mixchat")
    if not script.exists():
        pytest.skip("the command is not installed beside Python")
    result = mixchat.shell(f"cd '{tmp_path}' && '{script}' ask -m demo hi --max-tokens 2 --quiet")
    assert (result.code, result.stderr) == (0, b"")


def test_debug_shows_llama_cpp_s_log(mixchat: Command) -> None:
    result = mixchat.run("ask", "-m", "demo", "hi", "--max-tokens", "1", "--debug")
    assert result.code == 0
    assert b"llama_model_loader" in result.stderr
    assert b"\x1b" not in result.stderr
