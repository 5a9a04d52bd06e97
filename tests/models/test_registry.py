from pathlib import Path

import pytest

from mixchat.errors import UsageError
from mixchat.models import registry as registry_module
from mixchat.models.registry import load_registry, parse_registry
from tests.builders import QUANTS, mixtral_sizes

MODEL = """
[tiny]
title = "Tiny"
licence = "MIT"
context = 2048
prompt = "template"
"""
FILE = """
[[tiny.files]]
quantization = "Q4_K_M"
repo = "owner/repo"
file = "tiny.gguf"
revision = "0123456789012345678901234567890123456789"
bytes = 5
"""


def test_shipped_registry() -> None:
    registry = load_registry()
    assert list(registry.entries) == ["demo", "mixtral", "qwen3-30b-a3b", "gpt-oss-20b", "olmoe", "granite-1b-a400m"]
    demo, mixtral = registry.entries["demo"], registry.entries["mixtral"]
    assert demo.package is not None
    assert (demo.package.nbytes, demo.prompt, demo.licence) == (98362432, "template", "Apache-2.0")
    assert (mixtral.context, mixtral.prompt, mixtral.licence) == (32768, "mistral-v1", "Apache-2.0")
    assert mixtral.sampling == {"temperature": 0.7, "top_p": 0.95}
    assert registry.by_file("Mixtral-8x7B-Instruct-v0.1.Q8_0.gguf") == mixtral
    assert registry.by_file("other.gguf") is None


def test_what_is_not_known_is_left_to_the_file_and_the_hub() -> None:
    registry = load_registry()
    others = [entry for alias, entry in registry.entries.items() if alias not in {"demo", "mixtral"}]
    assert all((entry.licence, entry.context, entry.sampling) == (None, None, {}) for entry in others)
    known = {known.quantization: known for known in registry.entries["mixtral"].files}
    assert {name for name, file in known.items() if file.revision and file.sha256} == {
        "Q4_K_M", "i1-Q4_K_M", "i1-IQ2_XXS", "i1-IQ1_M"
    }  # fmt: skip
    assert all(file.revision for file in known.values() if file.sha256)
    assert (known["Q8_0"].revision is None, known["Q8_0"].sha256) == (False, None)


def test_mixtral_s_sizes_are_those_of_the_real_files() -> None:
    known = {known.quantization: known.nbytes for known in load_registry().entries["mixtral"].files}
    recorded = mixtral_sizes()["quants"]
    for quant in QUANTS:
        kind, name = quant.split("/")
        if kind != "thebloke-legacy":
            assert known[name if kind == "static" else f"i1-{name}"] == recorded[quant]["predicted_file_bytes"]


def test_nearest_alias() -> None:
    registry = load_registry()
    assert registry.nearest("mixtrall") == "mixtral"
    assert registry.nearest("Mixtral") == "mixtral"
    assert registry.nearest("zzz") is None
    assert registry.get("zzz") is None


def test_small_entries_are_enough() -> None:
    entry = parse_registry(MODEL + FILE, "mine.toml").entries["tiny"]
    assert (entry.sampling, entry.package, entry.files[0].sha256) == ({}, None, None)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("tiny = 1", 1, "tiny is not a table"),
        (MODEL.replace("[tiny]", '["../x"]'), 2, "../x is no alias"),
        (MODEL.replace('"MIT"', "3"), 4, "tiny.licence is 3, not"),
        (MODEL.replace('"MIT"', '"a\\u001bb"'), 4, "tiny.licence is"),
        (MODEL.replace('title = "Tiny"', ""), 2, "tiny.title is missing"),
        (MODEL.replace("2048", "true"), 5, "tiny.context is True, not a whole number"),
        (MODEL.replace("2048", "0"), 5, "tiny.context is 0, not a whole number"),
        (MODEL.replace('"template"', '"chatml"'), 6, "tiny.prompt is 'chatml'"),
        (MODEL + "colour = 1", 7, "tiny.colour is not a known key"),
        (MODEL + "sampling = 1", 7, "tiny.sampling is not a table"),
        (MODEL + "sampling = {seed = 1}", 7, "tiny.sampling.seed is not a known key"),
        (MODEL + "sampling = {top_p = 2}", 7, "tiny.sampling.top_p: 2 is not a number"),
        (MODEL + "files = 1", 7, "tiny.files is 1, not a list of tables"),
        (MODEL + "files = [1]", 7, "tiny.files[0] is not a table"),
        (MODEL + FILE + "x = 1", 14, "tiny.files[0].x is not a known key"),
        (MODEL + FILE + 'sha256 = "abc"', 14, "tiny.files[0].sha256 is 'abc'"),
        (MODEL + FILE.replace("tiny.gguf", "../tiny.gguf"), 11, "tiny.files[0].file is"),
        (MODEL + FILE.replace("owner/repo", "owner/../repo"), 10, "tiny.files[0].repo is"),
        (MODEL + FILE.replace("0123", "main"), 12, "tiny.files[0].revision is"),
        (MODEL + '[tiny.package]\npackage = "a.b"', 8, "tiny.package.package is"),
        (MODEL + '[tiny.package]\npackage = "ab"', 7, "tiny.package.file is missing"),
    ],
)
def test_mistakes_are_named(text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_registry(text, "mine.toml")
    assert caught.value.message.startswith(f"mine.toml, line {line}: {words}")
    assert caught.value.hint


def test_what_is_no_toml_is_told_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"mine\.toml is not TOML: .*line 3"):
        parse_registry("a = 1\nb = 2\nx = \n", "mine.toml")


def test_inside_a_wheel_it_lies_beside_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "__file__", str(tmp_path / "registry.py"))
    (tmp_path / "models.toml").write_text(MODEL)
    assert list(load_registry().entries) == ["tiny"]
    (tmp_path / "models.toml").write_text(MODEL.replace('"MIT"', "3"))
    with pytest.raises(RuntimeError, match=r"tiny\.licence"):
        load_registry()


def test_a_person_s_registry_is_laid_over_it_entry_by_entry(tmp_path: Path) -> None:
    own = tmp_path / "models.toml"
    assert load_registry(own) == load_registry()
    own.write_text(MODEL.replace("[tiny]", "[olmoe]") + MODEL)
    registry = load_registry(own)
    assert list(registry.entries) == [*load_registry().entries, "tiny"]
    assert (registry.entries["olmoe"].title, registry.entries["olmoe"].files) == ("Tiny", ())
    assert registry.entries["mixtral"] == load_registry().entries["mixtral"]


def test_a_mistake_in_a_person_s_registry_names_their_file(tmp_path: Path) -> None:
    own = tmp_path / "models.toml"
    own.write_text(MODEL + "colour = 1\n")
    with pytest.raises(UsageError) as caught:
        load_registry(own)
    assert caught.value.message.startswith(f"{own}, line 7: tiny.colour")
    own.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_registry(own)


@pytest.mark.parametrize(
    "file", ["../x.gguf", "/etc/x.gguf", "C:\\\\x.gguf", "x" * 300 + ".gguf", ".x.gguf", "a/b.gguf", "x", "a..b.gguf"]
)
def test_hostile_files_are_refused(file: str) -> None:
    with pytest.raises(UsageError, match="file is"):
        parse_registry(MODEL + FILE.replace("tiny.gguf", file), "mine.toml")


@pytest.mark.parametrize(
    "repo", ["repo", "../repo", "a/..", "a/b/c", "a/b.git", "a--b/c", "/etc/passwd", "a/" + "b" * 99]
)
def test_hostile_repositories_are_refused(repo: str) -> None:
    with pytest.raises(UsageError, match="repo is"):
        parse_registry(MODEL + FILE.replace("owner/repo", repo), "mine.toml")
