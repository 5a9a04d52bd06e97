import json
from pathlib import Path

import pytest

from tests.command import Command, Result

GREEDY = ("--temperature", "0")


@pytest.fixture(scope="module")
def summary(mixchat: Command) -> Result:
    text = b"The sky is blue because air scatters short waves of light more than long ones.\n"
    return mixchat.run("ask", "-m", "demo", "Summarise:", *GREEDY, "--max-tokens", "24", stdin=text)


def ask(mixchat: Command, *args: str, stdin: bytes = b"") -> Result:
    return mixchat.run("ask", "-m", "demo", *GREEDY, *args, stdin=stdin)


def test_stdout_holds_the_answer_and_nothing_else(summary: Result) -> None:
    assert (summary.code, summary.stderr) == (0, b"")
    assert summary.stdout.endswith(b"\n")
    assert not summary.stdout.endswith(b"\n\n")
    assert len(summary.stdout.split()) > 3
    assert b"\x1b" not in summary.stdout


def test_json_is_the_contract_s_and_greedy_text_is_the_same(mixchat: Command, summary: Result) -> None:
    text = b"The sky is blue because air scatters short waves of light more than long ones.\n"
    result = ask(mixchat, "Summarise:", "--max-tokens", "24", "--format", "json", stdin=text)
    assert (result.code, result.stderr, result.stdout.count(b"\n")) == (0, b"", 1)
    answer = json.loads(result.stdout)
    assert list(answer) == ["model", "text", "finish_reason", "usage", "timings"]
    assert list(answer["usage"]) == ["prompt_tokens", "cached_tokens", "completion_tokens"]
    assert list(answer["timings"]) == [
        "load_ms",
        "prefill_ms",
        "decode_ms",
        "ttft_ms",
        "prefill_tps",
        "decode_tps",
    ]
    assert answer["model"] == "demo"
    assert answer["text"].encode().strip() == summary.stdout.strip()
    assert answer["usage"]["completion_tokens"] <= 24
    assert all(answer["timings"][key] > 0 for key in ("load_ms", "prefill_ms", "ttft_ms"))


def test_a_limit_and_the_stats(mixchat: Command) -> None:
    result = ask(mixchat, "Tell me a story.", "--max-tokens", "5", "--format", "json", "--stats")
    answer = json.loads(result.stdout)
    assert (answer["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 5)
    assert len(result.errors) == 1
    assert all(word in result.errors[0] for word in ("load", "prefill", "first token", "decode 5 tokens"))


def test_the_stats_are_one_line_behind_the_text(mixchat: Command) -> None:
    result = ask(mixchat, "Hi", "--max-tokens", "3", "--stats")
    assert (result.code, len(result.errors), result.stdout.count(b"\n")) == (0, 2, 1)
    assert result.errors[0] == "[cut off: --max-tokens 3 is reached]"


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(mixchat: Command) -> None:
    whole = ask(mixchat, "Tell me a story.", "--max-tokens", "12").text.strip()
    words = whole.split()
    stop = words[4]
    result = ask(mixchat, "Tell me a story.", "--stop", stop, "--stop", "never said", "--format", "json")
    answer = json.loads(result.stdout)
    assert answer["text"] == whole[: whole.index(stop)]
    assert answer["finish_reason"] == "stop"


def test_a_seed_gives_the_same_text_twice(mixchat: Command) -> None:
    texts = {
        mixchat.run("ask", "-m", "demo", "Write.", "--seed", seed, "--temperature", "2", "--max-tokens", "8").stdout
        for seed in ("1", "1", "2")
    }
    assert len(texts) == 2


def dry(mixchat: Command, *args: str | Path, stdin: bytes = b"") -> list[tuple[str, str]]:
    result = mixchat.run("ask", "-m", "demo", "--dry-run", "--format", "json", *args, stdin=stdin)
    assert (result.code, result.stderr) == (0, b"")
    return [
        (each["role"], each["text"]) for each in json.loads(result.stdout)["segments"] if each["role"] != "template"
    ]


def test_a_dry_run_shows_the_exact_prompt(mixchat: Command) -> None:
    result = mixchat.run("ask", "-m", "demo", "Hello", "--dry-run", "--format", "json", "--ctx", "300")
    facts = json.loads(result.stdout)
    assert list(facts) == ["model", "context", "prompt_tokens", "token_ids", "segments"]
    assert (facts["model"], facts["context"]) == ("demo", 512)
    assert facts["prompt_tokens"] == len(facts["token_ids"]) == sum(each["tokens"] for each in facts["segments"])
    assert all(list(each) == ["role", "text", "tokens"] for each in facts["segments"])
    assert ("user", "Hello") in [(each["role"], each["text"]) for each in facts["segments"]]
    assert "".join(each["text"] for each in facts["segments"]).endswith("<|im_start|>assistant\n")


def test_a_dry_run_as_text(mixchat: Command) -> None:
    result = mixchat.run("ask", "-m", "demo", "a\nb <|im_end|>", "--dry-run")
    assert (result.code, result.stderr) == (0, b"")
    assert r"user      'a\nb <|im_end|>'" in result.text
    assert result.text.splitlines()[-1].endswith("tokens of 8192 (demo)")


def test_a_control_token_in_piped_text_is_text(mixchat: Command) -> None:
    result = mixchat.run("ask", "-m", "demo", "--dry-run", "--format", "json", stdin=b"<|im_end|>")
    facts = json.loads(result.stdout)
    own = [each["tokens"] for each in facts["segments"] if each["role"] == "user"]
    assert own[0] > 1


@pytest.mark.parametrize(
    ("args", "stdin", "expected"),
    [
        (("Hello",), b"", [("user", "Hello")]),
        (("Sum up:",), b"one\r\ntwo\n\n", [("user", "Sum up:\n\none\r\ntwo")]),
        ((), b"only piped\n", [("user", "only piped")]),
        (("Hi", "--no-stdin"), b"ignored", [("user", "Hi")]),
        (("Hi", "-s", "Be brief."), b"", [("system", "Be brief."), ("user", "Hi")]),
        (("Hi", "-S", "system.txt"), b"", [("system", "From a file."), ("user", "Hi")]),
        (("--messages", "talk.json"), b"", [("user", "a"), ("assistant", "b"), ("user", "c")]),
        (("--messages", "-"), b'[{"role": "user", "content": "piped"}]', [("user", "piped")]),
        (
            ("--messages", "-", "--system", "Be brief."),
            b'[{"role": "user", "content": "piped"}]',
            [("system", "Be brief."), ("user", "piped")],
        ),
        ((), "caf\u00e9".encode("latin-1"), [("user", "caf\u00e9")]),
        ((), "caf\u00e9".encode("utf-16"), [("user", "caf\u00e9")]),
    ],
)
def test_where_the_prompt_comes_from(
    args: tuple[str, ...], stdin: bytes, expected: list[tuple[str, str]], mixchat: Command
) -> None:
    (mixchat.folder / "system.txt").write_text("From a file.\n")
    talk = [{"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"), ("user", "c"))]
    (mixchat.folder / "talk.json").write_text(json.dumps(talk))
    segments = dry(mixchat, *args, stdin=stdin)
    if expected[0][0] != "system":
        segments = [segment for segment in segments if segment[0] != "system"]
    assert segments == expected


def test_settings_come_from_the_environment_and_the_file_and_flags_win(mixchat: Command, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text('model = "demo"\nmax_tokens = 2\nsystem = "Be brief."\n')
    variables = {"MIXCHAT_HOME": str(tmp_path), "MIXCHAT_CTX": "300", "MIXCHAT_TEMPERATURE": "0"}
    result = mixchat.run("ask", "Hi", "--dry-run", "--format", "json", "--ctx", "600", env=variables)
    facts = json.loads(result.stdout)
    assert (facts["model"], facts["context"]) == ("demo", 768)
    assert {"role": "system", "text": "Be brief.", "tokens": 3} in facts["segments"]
    result = mixchat.run("ask", "Hi", "--dry-run", "--format", "json", env=variables)
    assert json.loads(result.stdout)["context"] == 512


def test_a_temperature_from_the_environment_is_used(mixchat: Command, summary: Result) -> None:
    text = b"The sky is blue because air scatters short waves of light more than long ones.\n"
    args = ("ask", "Summarise:", "--max-tokens", "24")
    result = mixchat.run(*args, stdin=text, env={"MIXCHAT_TEMPERATURE": "0", "MIXCHAT_MODEL": "demo"})
    assert result == summary
