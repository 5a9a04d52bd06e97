import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixchat.gguf.writer import header_bytes, text
from tests.builders import Tiny, _tiny_metadata, _tiny_tensors, mixtral_header, sparse_file, tiny_moe
from tests.command import Command, wait_for
from tests.fakes.hub import FakeHub, Fault
from tests.fakes.hub_body import Content, Repo

BLOKE = "TheBloke/Mixtral-8x7B-Instruct-v0.1-GGUF"
MRADERMACHER = "mradermacher/Mixtral-8x7B-Instruct-v0.1-GGUF"
LEGACY, MERGED = "mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf", "Mixtral-8x7B-Instruct-v0.1.Q4_K_M.gguf"
PINNED = "92bb790b153033f0594934ee23bb0e12ba897f4e"
HUGE = Tiny(layers=64, experts=64, width=8192, feed_forward=28672, heads=64, kv_heads=8, words=32000)
MIB = 1 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models as files: a small one, a middling one, and three of which only the header takes place."""
    folder = tmp_path_factory.mktemp("hub")
    tiny_moe(folder / "tiny-Q8_0.gguf", Tiny(weight="Q8_0"))
    tiny_moe(folder / "tiny-F16.gguf", Tiny(layers=12))
    sparse_file(folder / LEGACY, mixtral_header("thebloke-legacy/Q4_K_M"))
    sparse_file(folder / MERGED, mixtral_header("static/Q4_K_M"))
    huge = {**_tiny_metadata(HUGE), "general.name": text("Huge")}
    sparse_file(folder / "huge-Q8_0.gguf", header_bytes(huge, _tiny_tensors(HUGE)))
    return folder


@pytest.fixture
def hub(files: Path) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        for name in ("tiny-Q8_0.gguf", "tiny-F16.gguf"):
            hub.add("own/tiny-GGUF", name, files / name)
        for repo, commit, name in (
            (BLOKE, "b" * 40, LEGACY),
            (MRADERMACHER, PINNED, MERGED),
            ("own/huge", "d" * 40, "huge-Q8_0.gguf"),
        ):
            hub.repos[repo] = Repo({commit: {name: unread(files / name)}})
        yield hub
        assert hub.errors == []


def unread(path: Path) -> Content:
    """A content whose hash is made up, so that nobody reads gigabytes of zeros for it."""
    content = Content(path)
    content._sha256 = "e" * 64
    return content


@pytest.fixture
def mixchat(tmp_path: Path, hub: FakeHub) -> Command:
    folder = tmp_path / "folder"
    folder.mkdir()
    return Command(tmp_path / "home", folder, HF_ENDPOINT=hub.endpoint)


def stored(tmp_path: Path) -> list[str]:
    models = tmp_path / "home" / "data" / "models"
    paths = models.rglob("*") if models.exists() else ()
    return sorted(str(path.relative_to(models)) for path in paths if path.is_file() and path.suffix != ".lock")


def everything(tmp_path: Path) -> set[Path]:
    return {path for path in tmp_path.rglob("*") if path.is_file()}


def test_a_pulled_model_is_there_and_asks_for_nothing_again(mixchat: Command, hub: FakeHub, tmp_path: Path) -> None:
    result = mixchat.run("pull", "hf:own/tiny-GGUF:Q8_0")
    assert (result.code, result.stdout) == (0, b""), result.stderr
    assert stored(tmp_path) == ["own--tiny-Q8_0/model.json", "own--tiny-Q8_0/tiny-Q8_0.gguf"]
    lines = result.errors
    assert lines[0] == "model   hf:own/tiny-GGUF:Q8_0 (tiny)"
    assert lines[1] == "layout  merged, 2 of 4 experts, Q8_0, context 512"
    assert lines[2] == "from    hf:own/tiny-GGUF/tiny-Q8_0.gguf, 2.1 MiB"
    assert any(line.startswith("Downloading hf:own/tiny-GGUF:Q8_0: 100 %") for line in lines)
    assert lines[-1].startswith("hf:own/tiny-GGUF:Q8_0 is ready: ")
    asked = len(hub.requests)
    for again in ("hf:own/tiny-GGUF", "own--tiny-Q8_0"):
        result = mixchat.run("pull", again)
        assert (result.code, len(result.errors)) == (0, 1)
        assert "is on this machine already" in result.errors[0]
    shown = json.loads(mixchat.run("show", "hf:own/tiny-GGUF:Q8_0", "--json").text)
    assert Path(shown["path"]).name == "tiny-Q8_0.gguf"
    assert len(hub.requests) == asked


def test_without_a_quantization_the_largest_that_fits_comes(mixchat: Command, tmp_path: Path) -> None:
    result = mixchat.run("pull", "hf:own/tiny-GGUF", "--quiet")
    assert (result.code, result.stdout, result.stderr) == (0, b"", b"")
    assert "own--tiny-F16/model.json" in stored(tmp_path)


def test_legacy_experts_are_refused_before_the_download(mixchat: Command, hub: FakeHub, tmp_path: Path) -> None:
    before = everything(tmp_path)
    result = mixchat.run("pull", f"hf:{BLOKE}:Q4_K_M")
    assert (result.code, result.stdout) == (5, b"")
    assert "legacy" in result.errors[-2]
    assert f"{MERGED} of {MRADERMACHER} works: mixchat pull mixtral:Q4_K_M" in result.errors[-1]
    assert "--force" in result.errors[-1]
    assert 0 < hub.served[LEGACY] <= 64 * MIB
    assert everything(tmp_path) == before


def test_what_does_not_fit_is_refused_with_numbers(mixchat: Command, hub: FakeHub, tmp_path: Path) -> None:
    result = mixchat.run("pull", "hf:own/huge:Q8_0")
    assert result.code == 3
    assert "TiB of RAM" in result.errors[-2]
    assert "are available" in result.errors[-2]
    assert hub.served["huge-Q8_0.gguf"] <= 64 * MIB
    assert stored(tmp_path) == []


def test_show_of_a_model_that_is_not_here(mixchat: Command, hub: FakeHub) -> None:
    result = mixchat.run("show", "mixtral:Q4_K_M", "--json")
    assert result.code == 0, result.stderr
    facts = json.loads(result.text)
    assert (facts["name"], facts["path"], facts["layout"]) == ("mixtral:Q4_K_M", None, "merged")
    assert (facts["experts"], facts["experts_used"], facts["context"]) == (8, 2, 32768)
    assert (facts["quantization"], facts["bytes"]) == ("Q4_K_M", 28448468384)
    assert hub.served[MERGED] == 8 * MIB
    table = mixchat.run("show", f"hf:{BLOKE}:Q4_K_M")
    assert table.code == 0
    for words in (
        "path            not on this machine",
        "layout          legacy",
        "problem",
        "mixchat pull mixtral:Q4_K_M",
    ):
        assert words in table.text


def test_ctrl_c_keeps_a_part_and_the_same_command_goes_on(mixchat: Command, hub: FakeHub, tmp_path: Path) -> None:
    hub.pace = 0.05
    part = tmp_path / "home/data/models/own--tiny-F16/tiny-F16.gguf.part"
    with mixchat.start("pull", "hf:own/tiny-GGUF:F16") as running:
        wait_for(lambda: part.exists() and part.stat().st_size >= MIB)
        running.process.send_signal(signal.SIGINT)
        result = running.finish()
    kept = part.stat().st_size
    assert (result.code, result.stdout) == (-signal.SIGINT, b"")
    same = "mixchat pull hf:own/tiny-GGUF:F16"
    assert result.errors[-1] == f"Stopped. What is there stays; the same command goes on: {same}"
    hub.pace, served = 0.0, hub.served["tiny-F16.gguf"]
    assert mixchat.run("pull", "hf:own/tiny-GGUF:F16").code == 0
    size = part.with_suffix("").stat().st_size
    assert hub.served["tiny-F16.gguf"] - served <= size - kept + 9 * MIB, "the header and the rest"


def test_trouble_is_shown_and_outlived(mixchat: Command, hub: FakeHub) -> None:
    hub.faults.add(Fault("fin", amount=9 * MIB, times=2))
    result = mixchat.run("pull", "hf:own/tiny-GGUF:F16")
    assert result.code == 0, result.stderr
    assert any("connection" in line for line in result.errors), result.stderr


def test_offline_is_told_at_once_and_what_is_there_works(mixchat: Command, hub: FakeHub) -> None:
    assert mixchat.run("pull", "hf:own/tiny-GGUF:Q8_0").code == 0
    asked, offline = len(hub.requests), {"HF_HUB_OFFLINE": "1"}
    assert mixchat.run("pull", "hf:own/tiny-GGUF:Q8_0", env=offline).code == 0
    for command in (("pull", "hf:own/tiny-GGUF:F16"), ("show", "mixtral:Q4_K_M")):
        result = mixchat.run(*command, env=offline)
        assert (result.code, result.stdout, len(result.errors)) == (4, b"", 2)
    assert len(hub.requests) == asked


def test_an_endpoint_can_be_given(mixchat: Command, hub: FakeHub) -> None:
    wrong = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert mixchat.run("pull", "hf:own/tiny-GGUF:Q8_0", "--endpoint", hub.endpoint, env=wrong).code == 0


def test_hostile_answers_touch_nothing_outside_the_store(mixchat: Command, hub: FakeHub, tmp_path: Path) -> None:
    small = Content(b"GGUF evil")
    for path in ("../../evil-Q2_K.gguf", "/etc/evil-Q3_K_M.gguf", "C:\\evil-Q4_K_M.gguf", "a/../../evil-Q5_K_M.gguf"):
        hub.repos.setdefault("own/evil", Repo({"e" * 40: {}})).commits["e" * 40][path] = small
    before = everything(tmp_path)
    for text_ in ("hf:own/evil", "hf:own/evil:Q2_K"):
        assert mixchat.run("pull", text_).code == 10
    for text_ in ("hf:own/evil/../../evil-Q2_K.gguf", "../evil.gguf"):
        assert mixchat.run("pull", text_).code == 2
    assert everything(tmp_path) == before


def test_a_person_s_own_registry(mixchat: Command, tmp_path: Path) -> None:
    own = tmp_path / "home" / "config" / "models.toml"
    own.parent.mkdir(parents=True)
    entry = (
        '[mine]\ntitle = "Mine"\nprompt = "template"\n[[mine.files]]\nquantization = "Q8_0"\nrepo = "own/tiny-GGUF"\n'
    )
    own.write_text(f'{entry}file = "tiny-Q8_0.gguf"\nbytes = 5\n')
    assert mixchat.run("pull", "mine", "-q").code == 0
    assert stored(tmp_path) == ["mine-Q8_0/model.json", "mine-Q8_0/tiny-Q8_0.gguf"]
    assert mixchat.run("show", "mine").code == 0
    before = everything(tmp_path)
    for file in ("../../evil.gguf", "/etc/evil.gguf"):
        own.write_text(f'{entry}file = "{file}"\nbytes = 5\n')
        result = mixchat.run("pull", "mine")
        assert (result.code, len(result.errors)) == (2, 2)
        assert f"{own}, line 7: mine.files[0].file" in result.errors[0]
    assert everything(tmp_path) == before


def test_a_file_in_the_other_library_s_cache_is_taken_from_there(
    mixchat: Command, hub: FakeHub, tmp_path: Path, files: Path
) -> None:
    content = (files / "tiny-F16.gguf").read_bytes()
    commit, known = hub.repos["own/tiny-GGUF"].at("main") or ("", {})
    repo = tmp_path / "hf" / "hub" / "models--own--tiny-GGUF"
    blob = repo / "blobs" / known["tiny-F16.gguf"].sha256
    blob.parent.mkdir(parents=True)
    blob.write_bytes(content)
    link = repo / "snapshots" / commit / "tiny-F16.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    result = mixchat.run("pull", "hf:own/tiny-GGUF:F16", env={"HF_HOME": str(tmp_path / "hf")})
    assert result.code == 0, result.stderr
    taken = tmp_path / "home/data/models/own--tiny-F16/tiny-F16.gguf"
    assert taken.read_bytes() == content
    assert taken.stat().st_ino == blob.stat().st_ino
    assert hub.served.total() == 0
