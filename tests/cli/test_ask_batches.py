"""`ask --each-line` and `--each-file` as a user runs them."""

import json
import signal
from functools import partial
from pathlib import Path

from tests.command import Command, Result, wait_for

ASK = "mixchat ask -m demo --temperature 0 --max-tokens 4"


def _holds(path: Path, least: int) -> bool:
    return path.exists() and path.read_bytes().count(b"\n") >= least


def items(text: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def told(result: Result) -> list[str]:
    """Its stderr without the lines that say which answers were cut off."""
    return [line for line in result.errors if ": [cut off: --max-tokens" not in line]


def test_a_bad_line_stops_no_other(mixchat: Command) -> None:
    lines = "'one\\ntwo\\0\\n\\ncaf\\xe9\\nfour'"
    result = mixchat.shell(f"printf {lines} | {ASK} Say: --each-line --format ndjson")
    found = {item["index"]: item for item in items(result.stdout)}
    assert result.code == 11
    assert {index: (item["event"], item["input"]) for index, item in found.items()} == {
        0: ("done", "one"),
        1: ("error", "two\0"),
        3: ("done", "café"),
        4: ("done", "four"),
    }
    assert list(found[1]) == ["event", "index", "input", "error"]
    assert list(found[0]) == ["event", "index", "input", "model", "text", "finish_reason", "usage", "timings"]
    assert json.loads(result.stderr)["error"]["message"] == "1 of 4 items failed."


def test_texts_stand_under_their_inputs_in_order(mixchat: Command, tmp_path: Path) -> None:
    for name, content in (("b.txt", b"Two."), ("a.txt", b"One."), ("c.txt", b"\0")):
        (tmp_path / name).write_bytes(content)
    result = mixchat.run(
        *("ask", "-m", "demo", "--temperature", "0", "--max-tokens", "3", "Say it.", "--each-file", "*.txt"),
        cwd=tmp_path,
    )
    assert result.code == 11
    first, second = result.text.split("\n\n==> b.txt <==\n")
    assert first.startswith("==> a.txt <==\n")
    assert second.endswith("\n")
    assert [line.split(": ")[:2] for line in told(result)[:1]] == [["mixchat", "c.txt"]]


def test_a_cut_answer_is_a_failed_item_when_that_is_asked_for(mixchat: Command) -> None:
    result = mixchat.shell(f"echo 'Tell me a story.' | {ASK} --each-line --format ndjson --fail-on-length")
    (item,) = items(result.stdout)
    assert (result.code, item["event"]) == (11, "error")


def test_killing_and_resuming_gives_each_line_exactly_once(mixchat: Command, tmp_path: Path) -> None:
    texts = [f"Count to {number}." for number in range(8)]
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
    out = tmp_path / "out.ndjson"
    args = ("ask", "-m", "demo", "--max-tokens", "3", "--each-line", "--resume-output", str(out))
    for least in (1, 4):
        with (tmp_path / "in.txt").open("rb") as lines, mixchat.start(*args, stdin=lines) as running:
            wait_for(partial(_holds, out, least))
            running.process.kill()
            running.finish()
        with out.open("ab") as file:
            file.write(b'{"event": "done", "ind')
    with (tmp_path / "in.txt").open("rb") as lines, mixchat.start(*args, stdin=lines) as running:
        result = running.finish()
    assert (result.code, result.stdout) == (0, b"")
    noticed, skipped = told(result)
    assert noticed == "22 bytes of out.ndjson are no result; they are in out.ndjson.damaged now."
    assert skipped.endswith(f"items have their answer in {out} already.")
    found = [(item["index"], item["input"]) for item in items(out.read_bytes())]
    assert sorted(found) == list(enumerate(texts))
    again = mixchat.run(*args, stdin=(tmp_path / "in.txt").read_bytes())
    assert (again.code, len(items(out.read_bytes()))) == (0, len(texts))
    other = mixchat.run(*args, stdin=b"Something else.\n")
    assert other.code == 2
    assert "another input" in other.errors[0]
    changed = mixchat.run(*args, "--choices", "yes,no", stdin=(tmp_path / "in.txt").read_bytes())
    assert changed.code == 2
    assert "another question" in changed.errors[0]
    assert len(items(out.read_bytes())) == len(texts)


def test_the_first_prompt_of_a_batch_can_be_seen(mixchat: Command) -> None:
    result = mixchat.shell(f"printf 'one\ntwo\n' | {ASK} Say: --each-line --dry-run --format json")
    assert [segment["text"] for segment in json.loads(result.stdout)["segments"] if segment["role"] == "user"] == [
        "Say:\n\none"
    ]
    assert result.errors == ["mixchat: this is the first item's prompt."]


def test_why_an_item_failed_is_told_beside_a_file(mixchat: Command, tmp_path: Path) -> None:
    result = mixchat.shell(f"printf 'a\\0\\n' | {ASK} --each-line --resume-output {tmp_path / 'out'}")
    assert result.code == 11
    assert [line for line in result.errors if line.startswith("mixchat: a␀: ")]


def test_ctrl_c_ends_a_batch_and_leaves_whole_lines(mixchat: Command, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Tell me a very long story.\n" * 20)
    out = tmp_path / "out.ndjson"
    args = ("ask", "-m", "demo", "--max-tokens", "12", "--each-line", "--resume-output", str(out))
    with (tmp_path / "in.txt").open("rb") as lines, mixchat.start(*args, stdin=lines) as running:
        wait_for(lambda: out.exists() and out.read_bytes())
        running.process.send_signal(signal.SIGINT)
        result = running.finish()
    assert (result.code, told(result)) == (-signal.SIGINT, [])
    assert {item["event"] for item in items(out.read_bytes())} == {"done"}


def test_a_reader_that_leaves_ends_a_batch(mixchat: Command) -> None:
    result = mixchat.shell(f"yes | {ASK} --each-line --format ndjson | head -1; echo ${{PIPESTATUS[@]}}")
    assert result.text.splitlines()[-1] == "141 141 0"
    assert result.stderr == b""
    assert json.loads(result.text.splitlines()[0])["input"] == "y"


def test_a_terminated_answer_is_kept(mixchat: Command) -> None:
    home = mixchat.folder / "terminated"
    story = ("ask", "-m", "demo", "Write a very long story.", "--temperature", "5", "--top-k", "0", "--min-p", "0")
    command = Command(home, mixchat.folder, MIXCHAT_MODELS=mixchat.environ["MIXCHAT_MODELS"])
    with command.start(*story) as running:
        assert running.read_some()
        running.process.send_signal(signal.SIGTERM)
        assert running.finish().code == -signal.SIGTERM
    shown = json.loads(command.run("sessions", "list", "--json").stdout)
    assert [(each["turns"], each["title"]) for each in shown["sessions"]] == [(1, "Write a very long story.")]
