from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import UsageError
from mixchat.models.reference import Alias, HubFile, HubQuant, HubRepo, LocalPath, Reference, parse_reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("mixtral", Alias("mixtral")),
        ("mixtral:Q5_K_M", Alias("mixtral", "Q5_K_M")),
        ("mixtral:i1-q4_k_m", Alias("mixtral", "I1-Q4_K_M")),
        ("qwen3-30b.a3b_x", Alias("qwen3-30b.a3b_x")),
        ("hf:owner/repo:q4_k_m", HubQuant("owner/repo", "Q4_K_M")),
        ("hf:owner/repo", HubRepo("owner/repo")),
        ("hf:o/r-GGUF/file.gguf", HubFile("o/r-GGUF", "file.gguf")),
        ("hf:o/r/Q8_0/a-00001-of-00002.GGUF@main", HubFile("o/r", "Q8_0/a-00001-of-00002.GGUF", "main")),
        ("hf:o/r/a.gguf@refs/pr/1", HubFile("o/r", "a.gguf", "refs/pr/1")),
        ("model.gguf", LocalPath(Path("model.gguf"))),
        ("MODEL.GGUF", LocalPath(Path("MODEL.GGUF"))),
        ("/a/b", LocalPath(Path("/a/b"))),
        ("./mixtral", LocalPath(Path("mixtral"))),
        ("../x", LocalPath(Path("../x"))),
        ("~/m", LocalPath(Path("~/m"))),
        ("mixtral:Q4_K_M.gguf", LocalPath(Path("mixtral:Q4_K_M.gguf"))),
        (".", LocalPath(Path())),
        ("a b/ünï.gguf", LocalPath(Path("a b/ünï.gguf"))),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a\x1b[31m.gguf",
        "a\x00b",
        "-m",
        "a..b",
        "C:\\x",
        "mixtral:",
        "mixtral:Q4 K",
        "mixtral:" + "Q" * 33,
        "a" * 300,
        "ﬁne",
        "https://huggingface.co/owner/repo",
        "file:///etc/passwd",
        "hf:",
        "hf:owner",
        "hf:owner/repo:",
        "hf:owner/repo:Q4:K",
        "hf:owner/repo/",
        "hf:owner/repo/file.bin",
        "hf:owner/repo/../x.gguf",
        "hf:owner/repo//x.gguf",
        "hf:owner/repo//etc/x.gguf",
        "hf:owner/repo/./x.gguf",
        "hf:owner/repo/.x.gguf",
        "hf:owner/repo/C:\\x.gguf",
        "hf:owner/repo/" + "a" * 300 + ".gguf",
        "hf:owner/repo/a.gguf@",
        "hf:owner/repo/a.gguf@../x",
        "hf:owner/repo/a.gguf@x/",
        "hf:owner/repo/a.gguf@" + "a" * 300,
        "hf:../repo:Q4_K_M",
        "hf:owner/..:Q4_K_M",
        "hf:/etc/passwd:Q4_K_M",
        "hf:own--er/repo:Q4_K_M",
        "hf:owner/repo.git:Q4_K_M",
        "hf:-owner/repo:Q4_K_M",
        "hf:owner/repo-:Q4_K_M",
        "hf:ow ner/repo:Q4_K_M",
        "hf:öwner/repo:Q4_K_M",
        "hf:owner/" + "r" * 96 + ":Q4_K_M",
    ],
)
def test_hostile_and_wrong_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250
    assert "hf:owner/repo:QUANT" in caught.value.hint


def test_a_file_without_suffix_is_a_path_unless_its_name_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    assert parse_reference("demo") == LocalPath(Path("demo"))
    assert parse_reference("demo", {"demo"}) == Alias("demo")
    assert parse_reference("folder") == Alias("folder")


@given(st.text() | st.text("hf:/.@-_aQ4~\\").map("hf:o/r/{}".format) | st.text("hf:/.@-_aQ4~\\").map("hf:{}".format))
def test_no_name_from_the_hub_leaves_its_folder(text: str) -> None:
    try:
        reference = parse_reference(text)
    except UsageError:
        return
    match reference:
        case HubFile(repo, file, revision):
            assert not {".", ".."} & {*repo.split("/"), *file.split("/"), *(revision or "x").split("/")}
            assert not file.startswith("/")
        case HubQuant(repo, quantization):
            assert len(repo.split("/")) == 2
            assert "/" not in quantization
        case HubRepo(repo):
            assert len(repo.split("/")) == 2
        case Alias(name):
            assert "/" not in name
            assert not name.startswith(".")
        case LocalPath():
            pass
