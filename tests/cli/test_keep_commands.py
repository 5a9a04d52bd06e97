"""`rm`, `verify`, `import`, `upgrade`, and what `list` and `show` say of it, as a user runs them."""

import json
from pathlib import Path

import pexpect
import pytest

from tests.builders import Tiny, legacy_twin, tiny_moe
from tests.command import Command


@pytest.fixture
def folder(bare: Command) -> Path:
    """The current folder of every run, with a legacy file and its merged twin."""
    merged = tiny_moe(bare.folder / "twin.gguf", Tiny(layers=1, experts=2, weight="Q8_0"))
    legacy_twin(merged, bare.folder / "old.gguf")
    return bare.folder


def test_from_a_legacy_file_to_a_model_and_away_again(bare: Command, folder: Path) -> None:
    refused = bare.run("ask", "hi", "-m", "old.gguf")
    assert (refused.code, len(refused.errors)) == (5, 2)
    assert "legacy" in refused.errors[0]

    upgraded = bare.run("upgrade", "old.gguf")
    assert (upgraded.code, upgraded.stderr) == (0, b"")
    assert upgraded.text.startswith("Wrote old-merged.gguf")
    assert (folder / "old-merged.gguf").read_bytes() == (folder / "twin.gguf").read_bytes()

    imported = bare.run("import", "old-merged.gguf", "--name", "mine")
    assert (imported.code, imported.stderr) == (0, b"")
    assert imported.text == "Imported mine (754.4 KiB, hard-linked). Try: mixchat chat mine\n"

    verified = bare.run("verify", "mine")
    assert (verified.code, verified.stderr) == (0, b"")
    assert "as model.json says" in verified.text

    shown = bare.run("show", "mine", "--json")
    tensors = json.loads(shown.text)["tensors"]
    assert {"role": "router", "type": "F32", "count": 1, "bytes": 2048} in tensors
    assert ["router", "F32", "1", "2.0", "KiB"] in [line.split() for line in bare.run("show", "mine").text.splitlines()]

    unasked = bare.run("rm", "mine")
    assert (unasked.code, len(unasked.errors)) == (2, 2)
    assert "--yes" in unasked.errors[1]
    removed = bare.run("rm", "mine", "--yes")
    assert (removed.code, removed.stderr) == (0, b"")
    assert removed.text.startswith("Removed mine (")
    assert json.loads(bare.run("list", "--json").text) == {"models": [], "partials": [], "leftovers": []}
    assert (folder / "old-merged.gguf").is_file()


def test_damage_is_found_and_what_to_do_is_told(bare: Command, folder: Path) -> None:
    assert bare.run("import", "twin.gguf", "--copy", "-q").stdout == b""
    (stored,) = (folder.parent / "home" / "data" / "models" / "twin").glob("*.gguf")
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    result = bare.run("verify", "twin")
    assert (result.code, result.stdout, len(result.errors)) == (5, b"", 2)
    assert "is damaged: it has the sha256" in result.errors[0]
    assert "mixchat rm twin" in result.errors[1]


def test_a_download_that_is_not_finished_is_listed_and_removed(bare: Command, folder: Path) -> None:
    half = folder.parent / "home" / "data" / "models" / "half"
    half.mkdir(parents=True)
    (half / "m.gguf.part").write_bytes(bytes(370))
    (half / "m.gguf.part.json").write_text('{"commit": "c", "sha256": null, "size": 1000}')
    (half / ".m.gguf.abc.tmp").write_bytes(bytes(5))
    listed = bare.run("list")
    assert [line.split() for line in listed.text.splitlines()[1:]] == [
        ["half", "370", "B", "partial,", "37", "%", "-", "-", "-", "-"],
        ["half", "5", "B", "leftover", "-", "-", "-", "-"],
    ]
    facts = json.loads(bare.run("list", "--json").text)
    assert facts["partials"] == [{"name": "half", "file": "m.gguf", "bytes": 370, "total": 1000}]
    assert facts["leftovers"] == [{"name": "half", "path": str(half / ".m.gguf.abc.tmp"), "bytes": 5}]
    assert bare.run("rm", "half", "--yes").code == 0
    assert not half.exists()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("upgrade", "twin.gguf"), 2, "merged experts already"),
        (("upgrade", "old.gguf", "-o", "twin.gguf"), 2, "is there already"),
        (("import", "old.gguf"), 5, "llama.cpp no longer loads that"),
        (("import", "twin.gguf", "--copy", "--leave"), 2, "--copy and --leave"),
        (("import", "twin.gguf", "--name", "../x"), 2, "no name"),
        (("rm", "nosuch", "--yes"), 10, "nosuch"),
        (("rm", "./twin.gguf", "--yes"), 2, "not in the store"),
    ],
)
def test_an_error_is_two_lines_and_a_code(
    args: tuple[str, ...], code: int, words: str, bare: Command, folder: Path
) -> None:
    result = bare.run(*args, cwd=folder)
    assert (result.code, result.stdout, len(result.errors)) == (code, b"", 2), result.stderr
    assert words in result.errors[0]


@pytest.mark.parametrize(("answer", "stays"), [("n", True), ("", True), ("y", False)])
def test_rm_asks_on_a_terminal(answer: str, stays: bool, bare: Command, folder: Path) -> None:
    half = folder.parent / "home" / "data" / "models" / "half"
    half.mkdir(parents=True)
    (half / "m.gguf.part").write_bytes(bytes(370))
    child = pexpect.spawn(
        bare.environ["PYTHON"], ["-m", "mixchat", "rm", "half"], env=bare.environ, cwd=str(folder), timeout=60
    )
    child.expect_exact("Remove half (370 B)? [y/N] ")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert half.exists() == stays
