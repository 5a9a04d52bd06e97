from pathlib import Path

import pytest

from mixchat.errors import UsageError
from mixchat.models import registry as registry_module
from mixchat.models.registry import load_registry, parse_registry

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
    assert list(registry.entries) == ["demo", "mixtral"]
    demo, mixtral = registry.get("demo"), registry.get("mixtral")
    assert demo is not None
    assert demo.package is not None
    assert (demo.package.nbytes, demo.prompt, demo.licence) == (98362432, "template", "Apache-2.0")
    assert mixtral is not None
    assert (mixtral.context, mixtral.prompt, mixtral.licence) == (32768, "mistral-v1", "Apache-2.0")
    assert mixtral.sampling == {"temperature": 0.7, "top_p": 0.95}
    assert {known.quantization: (known.nbytes, known.sha256 is None) for known in mixtral.files} == {
        "Q4_K_M": (28448468384, False),
        "Q8_0": (49626320288, True),
        "i1-Q4_K_M": (28448468608, False),
        "i1-IQ2_XXS": (12556357248, False),
        "i1-IQ1_M": (10847178368, False),
    }
    assert registry.by_file("Mixtral-8x7B-Instruct-v0.1.Q8_0.gguf") == mixtral
    assert registry.by_file("other.gguf") is None


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
    ("text", "place"),
    [
        ("x = ", "mine.toml is not TOML"),
        ("tiny = 1", "mine.toml: tiny is not a table"),
        (MODEL.replace("[tiny]", '["../x"]'), "mine.toml: ../x is no alias"),
        (MODEL.replace('"MIT"', "3"), "mine.toml: tiny.licence is 3, not"),
        (MODEL.replace('"MIT"', '"a\\u001bb"'), "mine.toml: tiny.licence is"),
        (MODEL.replace('licence = "MIT"', ""), "mine.toml: tiny.licence is missing"),
        (MODEL.replace("2048", "true"), "mine.toml: tiny.context is True, not a whole number"),
        (MODEL.replace("2048", "0"), "mine.toml: tiny.context is 0, not a whole number"),
        (MODEL.replace('"template"', '"chatml"'), "mine.toml: tiny.prompt is 'chatml'"),
        (MODEL + "colour = 1", "mine.toml: tiny.colour is not a known key"),
        (MODEL + "sampling = 1", "mine.toml: tiny.sampling is not a table"),
        (MODEL + "sampling = {seed = 1}", "mine.toml: tiny.sampling.seed is not a known key"),
        (MODEL + "sampling = {top_p = 2}", "mine.toml: tiny.sampling.top_p: 2 is not a number"),
        (MODEL + "files = 1", "mine.toml: tiny.files is 1, not a list of tables"),
        (MODEL + "files = [1]", "mine.toml: tiny.files[0] is not a table"),
        (MODEL + FILE + "x = 1", "mine.toml: tiny.files[0].x is not a known key"),
        (MODEL + FILE + 'sha256 = "abc"', "mine.toml: tiny.files[0].sha256 is 'abc'"),
        (MODEL + FILE.replace("tiny.gguf", "../tiny.gguf"), "mine.toml: tiny.files[0].file is"),
        (MODEL + FILE.replace("owner/repo", "owner/../repo"), "mine.toml: tiny.files[0].repo is"),
        (MODEL + FILE.replace("0123", "main"), "mine.toml: tiny.files[0].revision is"),
        (MODEL + '[tiny.package]\npackage = "a.b"', "mine.toml: tiny.package.package is"),
        (MODEL + '[tiny.package]\npackage = "ab"', "mine.toml: tiny.package.file is missing"),
    ],
)
def test_mistakes_are_named(text: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_registry(text, "mine.toml")
    assert caught.value.message.startswith(place)
    assert caught.value.hint


def test_inside_a_wheel_it_lies_beside_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "__file__", str(tmp_path / "registry.py"))
    (tmp_path / "models.toml").write_text(MODEL)
    assert list(load_registry().entries) == ["tiny"]
    (tmp_path / "models.toml").write_text(MODEL.replace('"MIT"', "3"))
    with pytest.raises(RuntimeError, match=r"tiny\.licence"):
        load_registry()
