import json
from pathlib import Path

import pytest

from mixchat.gguf.model import MoeModel
from tests.builders import mixtral_header, sparse_file
from tests.command import Command, Result
from tests.fakes.plans import mixtral

CARD = ("--vram", "24GiB", "--ram", "64GiB")
MODEL: MoeModel = mixtral("static/Q8_0")
KEYS = {
    "model": str,
    "file_bytes": int,
    "context": int,
    "kv_type": str,
    "ubatch": int,
    "fits": bool,
    "devices": list,
    "experts_used": int,
    "layers": list,
    "overrides": list,
    "n_gpu_layers": int,
    "load_mode": str,
    "extra_buffers": bool,
    "forecast": dict,
    "reasons": list,
    "what_if": list,
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Mixtral of which only the header is there."""
    folder = tmp_path_factory.mktemp("plans")
    sparse_file(folder / "q8.gguf", mixtral_header("static/Q8_0"))
    sparse_file(folder / "old.gguf", mixtral_header("thebloke-legacy/Q4_K_M"))
    return folder


@pytest.fixture(scope="module", autouse=True)
def first(mixchat: Command, files: Path) -> Result:
    """The first plan of the model on this machine, whose speed nobody has measured."""
    (Path(mixchat.environ["MIXCHAT_HOME"]) / "state" / "calibrations.json").unlink(missing_ok=True)
    return mixchat.run("plan", "q8.gguf", "--ram", "64GiB", "--json", cwd=files)


def test_a_described_machine_is_planned_as_json(mixchat: Command, files: Path) -> None:
    result = mixchat.run("plan", "q8.gguf", *CARD, "--json", cwd=files)
    assert (result.code, result.text.count("\n")) == (0, 1), result.stderr
    facts = json.loads(result.text)
    assert {key: type(facts[key]) for key in KEYS} == KEYS
    assert (facts["model"], facts["file_bytes"], facts["fits"]) == ("q8", MODEL.file_bytes, True)
    gpu, cpu = facts["devices"]
    assert (gpu["name"], gpu["kind"], cpu["name"], cpu["kind"]) == ("GPU0", "gpu", "CPU", "cpu")
    assert gpu["budget"] == 23 << 30
    assert gpu["weights"] + gpu["kv"] + gpu["compute"] <= gpu["budget"]
    assert gpu["weights"] + cpu["weights"] == MODEL.weights
    assert [layer["index"] for layer in facts["layers"]] == list(range(32))
    assert {layer["attention"] for layer in facts["layers"]} == {"GPU0"}
    experts = [layer["experts"] for layer in facts["layers"]]
    assert experts[0] == "GPU0"
    assert experts[-1] == "CPU"
    split = [each for each in experts if isinstance(each, dict)]
    assert all(set(each) == {"up", "gate", "down"} for each in split)
    forecast = facts["forecast"]
    assert forecast["basis"] in {"estimated", "measured", "given"}
    assert forecast["decode_tps"] > 0
    assert forecast["prefill_tps"] > 0
    assert forecast["bound_by"]
    assert sum(part["ms"] for part in forecast["parts"]) == pytest.approx(1000 / forecast["decode_tps"], rel=0.02)


def test_another_number_of_experts(mixchat: Command, files: Path) -> None:
    result = mixchat.run("plan", "q8.gguf", *CARD, "--experts-used", "3", cwd=files)
    assert result.code == 0, result.stderr
    assert "3 of 8 experts" in result.text
    assert "- Each token passes 3 instead of 2 experts: answers change" in result.text
    result = mixchat.run("plan", "q8.gguf", *CARD, "--experts-used", "9", cwd=files)
    assert (result.code, result.text) == (2, "")
    assert "Give --experts-used 1 to 8; it was trained with 2." in result.errors[-1]


def test_a_plan_in_words(mixchat: Command, files: Path) -> None:
    result = mixchat.run("plan", "q8.gguf", *CARD, cwd=files)
    assert result.code == 0, result.stderr
    assert result.stderr == b""
    assert b"\x1b" not in result.stdout
    for words in ("fits: context 8192", "experts of", "GPU0   █", "CPU    ·", "why\n- ", "what if\n- 8 GiB more VRAM"):
        assert words in result.text


def test_the_speed_is_measured_once_and_that_is_told(mixchat: Command, files: Path, first: Result) -> None:
    assert first.code == 0
    assert [line for line in first.errors if "kept for next time" in line] == [
        "Measuring how fast this machine computes: about a second for each type of weights, kept for next time."
    ]
    again = mixchat.run("plan", "q8.gguf", "--ram", "64GiB", "--json", cwd=files)
    assert again.errors == []
    assert json.loads(again.text)["forecast"] == json.loads(first.text)["forecast"]
    assert json.loads(again.text)["forecast"]["basis"] == "measured"


def test_what_does_not_fit_says_what_would_help(mixchat: Command, files: Path) -> None:
    result = mixchat.run("plan", "q8.gguf", "--ram", "16GiB", "--device", "cpu", cwd=files)
    assert (result.code, result.stdout) == (3, b"")
    assert result.errors[0].startswith("mixchat: Mixtral 8x7B Instruct v0.1 Q8_0 needs ")
    assert all(line.startswith("  -> ") for line in result.errors[1:])
    assert any("--force" in line for line in result.errors[1:])
    more = mixchat.run("plan", "q8.gguf", "--ram", "40GiB", "--device", "cpu", cwd=files)
    assert any("With 16 GiB more RAM: fits; decode " in line for line in more.errors)


def test_what_does_not_fit_as_json_is_a_plan_and_an_error(mixchat: Command, files: Path) -> None:
    result = mixchat.run("plan", "q8.gguf", "--ram", "16GiB", "--device", "cpu", "--json", cwd=files)
    assert result.code == 3
    facts = json.loads(result.text)
    assert (facts["fits"], facts["problem"]["code"]) == (False, 3)
    (cpu,) = facts["devices"]
    assert cpu["weights"] > cpu["budget"]
    assert json.loads(result.stderr)["error"]["code"] == 3


def test_force_shows_what_does_not_fit(mixchat: Command, files: Path) -> None:
    result = mixchat.run("plan", "q8.gguf", "--ram", "16GiB", "--device", "cpu", "--force", cwd=files)
    assert result.code == 0, result.stderr
    assert "does not fit: context" in result.text
    assert "-31" in result.text


def test_the_picture_is_written(mixchat: Command, files: Path, tmp_path: Path) -> None:
    target = tmp_path / "plan.svg"
    result = mixchat.run("plan", "q8.gguf", *CARD, "--svg", target, cwd=files)
    assert result.code == 0, result.stderr
    assert target.read_text().startswith("<svg ")
    assert oct(target.stat().st_mode & 0o777) == "0o644"
    refused = mixchat.run("plan", "q8.gguf", *CARD, "--svg", tmp_path / "none" / "plan.svg", cwd=files)
    assert (refused.code, refused.stdout, len(refused.errors)) == (12, b"", 2)


def test_settings_come_from_environment_and_file(bare: Command, mixchat: Command, files: Path, tmp_path: Path) -> None:
    env = {"MIXCHAT_VRAM": "24GiB", "MIXCHAT_RAM": "64GiB", "MIXCHAT_OVERRIDE": r"blk\.0\.ffn_.*_exps=CPU"}
    result = mixchat.run("plan", "q8.gguf", "--json", cwd=files, env=env)
    facts = json.loads(result.text)
    assert facts["layers"][0]["experts"] == "CPU"
    assert facts["overrides"][0] == {"pattern": r"blk\.0\.ffn_.*_exps", "device": "CPU"}
    config = tmp_path / "home" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('vram = ["24GiB", 8000000000]\nram = "64GiB"\noverride = "(=CPU"\n')
    wrong = bare.run("plan", files / "q8.gguf")
    assert wrong.code == 2
    assert wrong.errors[0].startswith("mixchat: override in config.toml: '(' is no regular expression: ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--override", "(=CPU"), "--override: '(' is no regular expression"),
        (("--override", "ffn"), "--override: 'ffn' is not REGEX=DEVICE."),
        (("--override", "ffn=CUDA9"), "There is no device CUDA9."),
        (("--override", "nosuchtensor=CPU"), "takes no tensor"),
        (("--device", "CUDA9"), "There is no device CUDA9."),
        (("--device", "cpu", "--expert-layers", "4"), "--expert-layers 4 needs a GPU, and --device asks for the CPU"),
        (("-m", "demo"), "Two models are given: q8.gguf and demo."),
        (("--vram", "8G"), "--vram: '8G' is not a size"),
        (("--ram", "much"), "--ram: 'much' is not a size"),
        (("--bandwidth", "fast"), "'fast' is not a bandwidth."),
        (("--expert-layers", "900"), "--expert-layers: 900 is not a whole number from 0 to 512."),
        (("--rpc", "box"), "--rpc: 'box' is not HOST:PORT."),
        (("--all-quants",), "Nobody knows other quantizations of q8."),
        (("--all-quants", "--svg", "x.svg"), "--svg draws one plan"),
    ],
)
def test_mistakes_are_two_lines(mixchat: Command, files: Path, args: tuple[str, ...], message: str) -> None:
    result = mixchat.run("plan", "q8.gguf", *args, cwd=files)
    assert (result.code, result.stdout, len(result.errors)) == (2, b"", 2), result.stderr
    assert message in result.errors[0]
    assert result.errors[1].startswith("  -> ")


def test_a_described_gpu_is_for_plans_only(mixchat: Command) -> None:
    result = mixchat.run("ask", "hi", "-m", "demo", "--vram", "24GiB")
    assert (result.code, result.stdout, len(result.errors)) == (2, b"", 2)
    assert result.errors[0] == "mixchat: --vram 24.0GiB: llama.cpp has no GPU here."


def test_other_failures_keep_their_codes(mixchat: Command, files: Path) -> None:
    for args, code in ((("old.gguf",), 5), (("none.gguf",), 10), (("nosuch",), 10), (("mixtral:Q2_K",), 4)):
        result = mixchat.run("plan", *args, cwd=files, env={"HF_HUB_OFFLINE": "1"})
        assert (result.code, result.stdout, len(result.errors)) == (code, b"", 2), result.stderr


def test_quantizations_without_a_network_have_an_error(mixchat: Command) -> None:
    result = mixchat.run("plan", "mixtral", "--all-quants", env={"HF_HUB_OFFLINE": "1"})
    assert (result.code, result.stdout) == (4, b"")
