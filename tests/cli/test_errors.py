import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from mixchat.gguf.writer import header_bytes, text
from tests.builders import Tiny, _tiny_metadata, _tiny_tensors, mixtral_header, sparse_file
from tests.command import Command, Result

HUGE = Tiny(layers=64, experts=64, width=8192, feed_forward=28672, heads=64, kv_heads=8, words=32000)


@pytest.fixture(scope="module")
def files(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bad models and bad texts."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "page.gguf").write_bytes(b"<!doctype html><title>404</title>")
    (folder / "empty.gguf").touch()
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe.gguf")
    (folder / "binary.txt").write_bytes(b"\0\1\2\3")
    (folder / "odd.json").write_text('[{"role": "robot", "content": "x"}]')
    (folder / "half.json").write_text('[{"role":"user","content":"y"},{"role":"assistant","content":"y"}]')
    (folder / "cut.json").write_text('[{"role": "user"')
    (folder / "cut.gguf").write_bytes(demo_model.read_bytes()[: 1 << 22])
    sparse_file(folder / "old.gguf", mixtral_header("thebloke-legacy/Q4_K_M"))
    sparse_file(folder / "base.gguf", mixtral_header("static/Q4_K_M"))
    template = {"tokenizer.chat_template": text("{{ messages }}"), "general.name": text("Huge")}
    sparse_file(folder / "huge.gguf", header_bytes({**_tiny_metadata(HUGE), **template}, _tiny_tensors(HUGE)))
    return folder


@dataclass(frozen=True, slots=True)
class Case:
    """Arguments in the folder of bad files, the exit code, and words of the message and of the hint."""

    args: tuple[str, ...]
    code: int
    message: str
    hint: str = ""
    stdin: bytes = b""


ASK = ("ask", "-m", "demo")
CASES = [
    Case(("ask", "hi", "-m", "./page.gguf"), 5, "page.gguf"),
    Case(("show", "page.gguf"), 5, "page.gguf"),
    Case(("ask", "hi", "-m", "empty.gguf"), 5, "empty"),
    Case(("ask", "hi", "-m", "pipe.gguf"), 5, "pipe"),
    Case(("ask", "hi", "-m", "./folder"), 2, "folder"),
    Case(("ask", "hi", "-m", "cut.gguf"), 5, "incomplete", "again"),
    Case(("ask", "hi", "-m", "./\x1b[31mred.gguf"), 2, "no model"),
    Case(("ask", "hi", "-S", "./\x1b[31mred.txt"), 10, "␛[31mred.txt"),
    Case(("ask", "hi", "-m", "old.gguf"), 5, "legacy", "Mixtral-8x7B-Instruct-v0.1.Q4_K_M.gguf"),
    Case(("ask", "hi", "-m", "old.gguf", "--dry-run"), 5, "legacy"),
    Case(("ask", "hi", "-m", "base.gguf"), 5, "base model", "instruct"),
    Case(("ask", "hi", "-m", "huge.gguf"), 3, "TiB of RAM"),
    Case(("chat", "huge.gguf"), 3, "are available", stdin=b"hi\n"),
    Case(("ask", "hi", "-m", "none.gguf"), 10, "none.gguf does not exist"),
    Case(("show", "none.gguf"), 10, "none.gguf does not exist"),
    Case(("ask", "hi", "-m", "nosuch"), 10, "no model nosuch", "mixtral"),
    Case(("ask", "hi", "-m", "mixtrall"), 10, "mixtrall", "Did you mean mixtral?"),
    Case(("ask", "hi", "-m", "mixtral"), 10, "mixtral", "mixchat pull mixtral"),
    Case(("ask", "hi"), 10, "mixtral"),
    Case(("ask", "hi", "-m", "hf:a/b:Q4_K_M"), 10, "hf:a/b:Q4_K_M", "mixchat pull hf:a/b:Q4_K_M"),
    Case(("chat", "hf:a/b"), 10, "hf:a/b", "mixchat pull hf:a/b", stdin=b"hi\n"),
    Case(("pull", "./page.gguf"), 2, "a path", "hf:owner/repo:QUANT"),
    Case(("pull", "nosuch"), 10, "no model nosuch"),
    Case(("pull",), 2, "MODEL", "--help"),
    Case(("ask", "hi", "-m", "https://example.org/a.gguf"), 2, "web address"),
    Case(("ask", "hi", "-m", ""), 2, "no model"),
    Case(ASK, 2, "no prompt", "mixchat ask"),
    Case((*ASK, " \n"), 2, "no prompt", stdin=b"\n\n"),
    Case((*ASK, "--no-stdin"), 2, "no prompt", stdin=b"text"),
    Case((*ASK, "hi", "--nosuch"), 2, "--nosuch", "--help"),
    Case((*ASK, "hi", "there"), 2, "there", "--help"),
    Case((*ASK, "hi", "--temperature", "hot"), 2, "hot"),
    Case((*ASK, "hi", "--temperature", "-1"), 2, "--temperature", "0.7"),
    Case((*ASK, "hi", "--temperature", "nan"), 2, "--temperature"),
    Case((*ASK, "hi", "--max-tokens", "0"), 2, "--max-tokens"),
    Case((*ASK, "hi", "--ctx", "0"), 2, "--ctx"),
    Case((*ASK, "hi", "--kv-type", "q8"), 2, "--kv-type", "q8_0"),
    Case((*ASK, "hi", "--stop", ""), 2, "stop"),
    Case((*ASK, "hi", "--format", "yaml"), 2, "yaml"),
    Case((*ASK, "hi", "-s", "x", "-S", "binary.txt"), 2, "--system-file"),
    Case((*ASK, "hi", "-S", "none.txt"), 10, "none.txt"),
    Case((*ASK, "hi", "-S", "binary.txt"), 2, "binary"),
    Case((*ASK, "hi", "-S", "folder"), 2, "folder"),
    Case((*ASK, "hi", "--messages", "odd.json"), 2, "--messages"),
    Case((*ASK, "--messages", "odd.json"), 2, "robot"),
    Case((*ASK, "--messages", "cut.json"), 2, "not JSON"),
    Case((*ASK, "--messages", "none.json"), 10, "none.json"),
    Case((*ASK, "--messages", "-"), 2, "not JSON"),
    Case((*ASK, "--messages", "-", "-s", "x"), 2, "--system", stdin=b'[{"role":"system","content":"y"}]'),
    Case((*ASK, "--messages", "half.json"), 2, "ends with"),
    Case((*ASK,), 2, "binary", stdin=b"\x7fELF\0\0\0"),
    Case((*ASK, "--ctx", "256"), 7, "room for 255", "--ctx", stdin=b"many words " * 300),
    Case((*ASK,), 7, "room for 8191", "Shorten", stdin=b"many words " * 9000),
    Case(("chat", "demo", "-m", "demo"), 2, "Two models"),
    Case(("nosuch",), 2, "nosuch", "--help"),
    Case((), 2, "no command", "mixchat --help"),
    Case(("show",), 2, "MODEL", "--help"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case.args).replace("\x1b", "ESC") or "nothing")
def test_an_error_is_two_lines_and_a_code(case: Case, mixchat: Command, files: Path) -> None:
    result = mixchat.run(*case.args, stdin=case.stdin, cwd=files)
    assert (result.code, result.stdout) == (case.code, b""), result.stderr
    message, hint = result.errors
    assert message.startswith("mixchat: ")
    assert hint.startswith("  -> ")
    assert case.message in message
    assert case.hint in hint
    assert b"\x1b" not in result.stderr


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("ask", "hi", "-m", "page.gguf", "--format", "json"), 5),
        (("ask", "hi", "-m", "page.gguf", "--format=json"), 5),
        (("ask", "--format", "json"), 2),
        (("ask", "hi", "--format", "json", "--nosuch"), 2),
        (("ask", "hi", "-m", "huge.gguf", "--format", "json"), 3),
        (("show", "none.gguf", "--json"), 10),
    ],
)
def test_an_error_is_one_json_object_where_json_was_asked_for(
    args: tuple[str, ...], code: int, mixchat: Command, files: Path
) -> None:
    result = mixchat.run(*args, cwd=files)
    assert (result.code, result.stdout, len(result.errors)) == (code, b"", 1)
    content = json.loads(result.stderr)
    assert list(content) == ["error"]
    assert list(content["error"]) == ["code", "message", "hint"]
    assert content["error"]["code"] == code


def test_debug_adds_the_traceback(mixchat: Command, files: Path) -> None:
    result = mixchat.run("show", "page.gguf", "--debug", cwd=files)
    assert result.code == 5
    assert b"Traceback" in result.stderr
    assert result.errors[-1].startswith("  -> ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"temperature = 9\n", ["line 1", "temperature"]),
        (b"\n\ntemprature = 0.5\n", ["line 3", "temprature"]),
        (b"temperature = \n", ["TOML"]),
        (b"\xff\xfe", ["UTF-8"]),
    ],
)
def test_a_wrong_configuration_names_its_file(content: bytes, words: list[str], bare: Command, tmp_path: Path) -> None:
    path = tmp_path / "home" / "config" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    result = bare.run("ask", "hi", "-m", "demo")
    assert (result.code, result.stdout, len(result.errors)) == (2, b"", 2)
    assert all(word in result.errors[0] for word in [str(path), *words])


def test_a_wrong_variable_is_named(bare: Command) -> None:
    result = bare.run("ask", "hi", env={"MIXCHAT_TOP_K": "many"})
    assert (result.code, len(result.errors)) == (2, 2)
    assert "MIXCHAT_TOP_K" in result.errors[0]


def test_what_is_only_remembered_may_be_lost(bare: Command, tmp_path: Path, demo_model: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "state").write_text("a file")
    env = {"MIXCHAT_MODELS": str(demo_model.parents[1])}
    result = bare.run("ask", "hi", "-m", "demo", "--max-tokens", "2", "--quiet", env=env)
    assert (result.code, result.stderr) == (0, b"")


def test_a_place_that_cannot_be_written_is_told(bare: Command, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "data").write_text("a file")
    result: Result = bare.run("ask", "hi", "-m", "demo")
    assert (result.code, result.stdout, len(result.errors)) == (12, b"", 2)
    assert str(home / "data") in result.errors[0]
