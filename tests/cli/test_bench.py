"""`mixchat bench` as a user runs it, with the demo model."""

import json
import signal

import pytest

from tests.command import Command, wait_for_busy


def test_the_demo_is_measured(mixchat: Command) -> None:
    done = mixchat.run("bench", "demo", "--rounds", "1", "--depths", "0", "--json")
    assert done.code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["model"], facts["context"], facts["layers"], facts["complete"]) == ("demo", 8192, 30, True)
    prefill, decode = facts["results"]
    assert [(each["kind"], each["depth"], len(each["samples"])) for each in facts["results"]] == [
        ("prefill", 0, 1),
        ("decode", 0, 1),
    ]
    assert prefill["tps"] > decode["tps"] / 5 > 0
    assert facts["load_ms"] > 0
    (ram,) = facts["devices"]
    assert ram["name"] == "CPU"
    assert ram["real"]["kv"] == ram["planned"]["kv"] == 188743680
    assert ram["real"]["total"] == sum(ram["real"][part] for part in ("weights", "kv", "compute", "copies"))
    assert facts["history"] == []


def test_a_second_run_stands_beside_the_first_and_people_get_a_table(mixchat: Command) -> None:
    options = ("--rounds", "1", "--depths", "0", "--ctx", "256")
    assert mixchat.run("bench", "-m", "demo", *options).code == 0
    done = mixchat.run("bench", "-m", "demo", *options)
    assert done.code == 0, done.stderr
    lines = done.text.splitlines()
    assert lines[0].startswith("demo (Q4_1), load ")
    assert lines[3].split() == ["tokens", "measured", "spread", "forecast", "ratio"]
    assert lines[4].startswith("prefill 128 at 0")
    assert lines[5].startswith("decode 64 at 0")
    assert lines[7].split() == ["memory", "planned", "real", "weights", "KV", "compute"]
    assert " % against the run of " in lines[-1]
    assert b"\x1b" not in done.stdout + done.stderr


def test_ctrl_c_keeps_what_was_measured(mixchat: Command) -> None:
    options = ("--rounds", "100", "--depths", "0", "--ctx", "256", "--json")
    with mixchat.start("bench", "demo", *options) as running:
        wait_for_busy(running.worker(), 12.0)
        running.process.send_signal(signal.SIGINT)
        done = running.finish()
    assert done.code == -signal.SIGINT, done.stderr
    facts = json.loads(done.stdout)
    assert facts["complete"] is False
    assert 0 < len(facts["results"][0]["samples"]) < 100


def test_ctrl_c_before_that_is_silent(mixchat: Command) -> None:
    with mixchat.start("bench", "demo") as running:
        running.worker()
        running.process.send_signal(signal.SIGINT)
        done = running.finish()
    assert (done.code, done.stdout) == (-signal.SIGINT, b"")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--depths", "0,x"), "--depths: '0,x' are no numbers of tokens."),
        (("--depths", ""), "--depths: '' are no numbers of tokens."),
        (("--depths", "-1"), "--depths: '-1' are no numbers of tokens."),
        (("--depths", "9" * 12), f"--depths: {'9' * 12} is more than any context."),
        (("--rounds", "0"), "--rounds is 0."),
        (("--rounds", "101"), "--rounds is 101."),
        (("-m", "demo"), "Two models are given: demo and demo."),
    ],
)
def test_wrong_usage(bare: Command, options: tuple[str, ...], message: str) -> None:
    done = bare.run("bench", "demo", *options, "--json")
    assert (done.code, done.stdout) == (2, b"")
    assert json.loads(done.stderr)["error"]["message"] == message
