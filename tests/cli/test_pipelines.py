import json
import signal

import pytest

from tests.command import Command, gone, wait_for, wait_for_busy

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONG = "Write a very long story."
ENDLESS = ("ask", "-m", "demo", LONG, "--temperature", "5", "--top-k", "0", "--top-p", "1", "--min-p", "0")
"""Any token may follow any other, so the end of the answer never comes; at most 8000 tokens."""


def test_a_reader_that_leaves_ends_it_silently(mixchat: Command) -> None:
    story = "mixchat ask -m demo 'List the numbers from 1 to 200, one on each line:' --temperature 0"
    result = mixchat.shell(f"{story} --repeat-penalty 1.1 | head -1; echo ${{PIPESTATUS[@]}}")
    assert result.text.split()[-2:] == ["141", "0"]
    assert result.stderr == b""


def test_a_reader_that_leaves_in_the_middle_of_a_line(mixchat: Command) -> None:
    result = mixchat.shell(f"mixchat {_quoted(ENDLESS)} | head -c 3 >/dev/null; echo ${{PIPESTATUS[@]}}")
    assert (result.text, result.stderr) == ("141 0\n", b"")


def _quoted(args: tuple[str, ...]) -> str:
    return " ".join(f"'{arg}'" for arg in args)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("ask -m demo hi --max-tokens 3 >/dev/full", 12),
        ("ask -m demo hi --max-tokens 3 >&-", 12),
        ("ask -m demo hi --dry-run >/dev/full", 12),
        ("list >&-", 12),
        ("list --json >/dev/full", 12),
        ("--version >/dev/full", 12),
        ("--help >/dev/full", 12),
        ("ask -m demo </dev/null", 2),
        ("ask -m demo <&-", 2),
    ],
)
def test_streams_that_fail_are_told(script: str, code: int, mixchat: Command) -> None:
    result = mixchat.shell(f"mixchat {script}")
    assert (result.code, result.stdout) == (code, b""), result.stderr
    if "--json" in script:
        assert json.loads(result.stderr)["error"]["code"] == code
    else:
        assert [line.split()[0] for line in result.errors] == ["mixchat:", "->"]


def test_no_stream_is_needed_but_stdout(mixchat: Command) -> None:
    result = mixchat.shell("mixchat ask -m demo hi --max-tokens 3 --stats <&- 2>&-")
    assert (result.code, result.stderr) == (0, b"")
    assert result.text.strip()


def test_a_loop_reads_its_own_input_with_no_stdin(mixchat: Command) -> None:
    script = (
        'printf "a\\nb\\n" | while read -r line; do mixchat ask -m demo "$line" --no-stdin --dry-run | tail -1; done'
    )
    result = mixchat.shell(script)
    assert len(result.text.splitlines()) == 2


def test_waiting_for_a_silent_pipe_is_said(mixchat: Command) -> None:
    result = mixchat.shell("sleep 4 | mixchat ask -m demo hi --dry-run")
    assert result.code == 0
    assert result.errors == ["mixchat: waiting for text on stdin; --no-stdin ignores it."]


def test_a_command_substitution_ends_with_its_answer(mixchat: Command) -> None:
    result = mixchat.shell('answer=$(mixchat ask -m demo hi --max-tokens 3); echo "got: $answer"')
    assert result.text.startswith("got: ")


ENDINGS = [(when, number) for when in ("starting", "decoding") for number in SIGNALS] + [("prefilling", signal.SIGINT)]


@pytest.mark.parametrize(("when", "number"), ENDINGS)
def test_a_signal_ends_it_by_that_signal_and_leaves_no_worker(
    when: str, number: signal.Signals, mixchat: Command
) -> None:
    args = (*ENDLESS[:3], "word " * 4000, *ENDLESS[4:]) if when == "prefilling" else ENDLESS
    with mixchat.start(*args) as running:
        worker = running.worker()
        if when == "prefilling":
            wait_for_busy(worker)
        elif when == "decoding":
            assert running.read_some()
        running.process.send_signal(number)
        result = running.finish()
        assert (result.code, result.stderr) == (-number, b"")
        assert bool(result.stdout) == (when == "decoding")
        wait_for(lambda: gone(worker), 2.0)


def test_json_holds_the_partial_answer_after_ctrl_c(mixchat: Command) -> None:
    with mixchat.start(*ENDLESS, "--format", "json") as running:
        wait_for_busy(running.worker(), 5.0)
        running.process.send_signal(signal.SIGINT)
        result = running.finish()
    assert (result.code, result.stderr) == (-signal.SIGINT, b"")
    answer = json.loads(result.stdout)
    assert answer["finish_reason"] == "interrupted"
    assert answer["usage"]["completion_tokens"] > 0


def test_a_shell_s_background_job_ignores_ctrl_c(mixchat: Command) -> None:
    script = "mixchat ask -m demo hi --max-tokens 4 & sleep 0.6; kill -INT $!; wait $!; echo code $?"
    assert mixchat.shell(script).text.endswith("code 0\n")
