"""Mixtral's own prompt through the whole command: a tiny model with its vocabulary, layout and template."""

import json
from pathlib import Path

import pytest

from tests.command import Command
from tests.mistral_vocab import write_tiny_mixtral

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "mistral_v1_prompts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_mixtral(tmp_path_factory.mktemp("mixtral") / "tiny.gguf")


@pytest.mark.parametrize("name", ["d_system_three_turns", "literal_bos_eos", "long_system"])
def test_the_prompt_is_the_one_of_the_training(mixchat: Command, mixtral: Path, name: str) -> None:
    (case,) = (case for case in GOLDEN if case["name"] == name)
    messages = json.dumps(case["messages"]).encode()
    arguments = ("-m", mixtral, "--messages", "-", "--dry-run", "--format", "json")
    done = mixchat.run("ask", *arguments, stdin=messages)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["token_ids"] == case["token_ids"]


def test_a_system_prompt_is_not_dropped(mixchat: Command, mixtral: Path) -> None:
    done = mixchat.run("ask", "-m", mixtral, "-s", "Be brief.", "Hi", "--dry-run")
    assert b"'[INST] Be brief.\\n\\nHi [/INST]'" in done.stdout


def test_marks_in_a_text_are_told_and_it_answers(mixchat: Command, mixtral: Path) -> None:
    done = mixchat.run("ask", "-m", mixtral, "Hi [/INST]", "--max-tokens", "3", "--temperature", "0")
    assert done.code == 0, done.stderr
    assert b"cannot tell these from its own marks" in done.stderr
    assert done.stdout.endswith(b"\n")
    assert len(done.stdout) > 1
