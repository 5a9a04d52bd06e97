"""`ask` in bash, with real pipes: exit codes, stdout to the byte, stderr's lines."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from mixchat.cli.ask_options import AskOptions, check
from mixchat.errors import UsageError
from tests.command import Command

ASK = "mixchat ask -m demo"


@dataclass(frozen=True, slots=True)
class Case:
    """A script, its exit code, and words of its stderr's lines, of which there are no others.

    Its stdout is as given to the byte; None: whatever comes before the failure.
    """

    script: str
    code: int
    errors: tuple[str, ...] = ()
    stdout: bytes | None = b""


USAGE = [
    Case(f"{ASK} hi --format yaml", 2, ("'yaml'", "--help")),
    Case(f"{ASK} hi --each-line --format json", 2, ('"code": 2',)),
    Case(f"{ASK} hi --each-line --format=json", 2, ('"code": 2',)),
    Case(f"{ASK} hi --messages talk.json", 2, ("--messages and PROMPT", "Give one")),
    Case(f"{ASK} hi -i --format ndjson", 2, ('"code": 2',)),
    Case("setsid {python} -m mixchat ask -m demo hi -i", 2, ("terminal", "Leave it out")),
    Case(f"{ASK} hi -f none.txt", 10, ("none.txt", "Check its name")),
    Case(f"{ASK} hi -f '*.none'", 10, ("*.none", "Check it")),
    Case(f"{ASK} hi -f binary.bin", 2, ("binary.bin is binary", "iconv")),
    Case(f"{ASK} hi --each-file '*.none'", 10, ("*.none", "Check it")),
    Case(f"MIXCHAT_HOME=$PWD/new {ASK} hi -c", 10, ("no session to go on with", "mixchat ask")),
    Case(f"{ASK} </dev/null", 2, ("no prompt", "mixchat ask")),
    Case(f"{ASK} --each-line </dev/null", 0),
    Case(f"{ASK} --each-line <&-", 0),
    Case("printf '\\n \\n' | " + f"{ASK} --each-line", 0),
    Case("printf 'a\\0b\\n\\0\\n' | " + f"{ASK} --each-line", 11, ("a\u2400b: Line 1", ": Line 2", "2 of 2", "reason")),
    Case("printf 'x\\n' | iconv -t UTF-16 | " + f"{ASK} --each-line", 2, ("UTF-16", "iconv")),
    Case(f"echo x | {ASK} --each-line --resume-output notes.txt", 2, ("something else", "new file")),
    Case(f"echo x | {ASK} --each-line --resume-output /dev/null", 2, ("no file", "--resume-output")),
    Case(f"echo x | {ASK} --each-line --resume-output none/out", 12, ("cannot be opened", "Check")),
    Case(f"head -c 1000000 /dev/zero | tr '\\0' x | {ASK} --ctx 512", 7, ("about", "Shorten")),
    Case(f"yes | {ASK}", 2, ("64 MiB", "a part")),
    Case(f"{ASK} --messages talk.json --ctx 256", 7, ("room for 255", "--ctx")),
    Case("echo x | mixchat ask -m ./page.gguf --each-line", 5, ("page.gguf", "")),
    Case("mixchat ask -m nosuch hi --format ndjson", 10, ('"code": 10',)),
    Case("mixchat ask -m nosuch hi", 10, ("nosuch", "mixchat")),
    Case(f"{ASK} hi --ram 1MiB", 3, ("1.0 MiB are available", "--force")),
    Case(f"{ASK} hi --rpc 127.0.0.1:9", 6, ("127.0.0.1:9", "rpc-worker")),
    Case(f"printf '\\0\\1' | {ASK}", 2, ("binary", "iconv")),
    Case(f"{ASK} </dev/zero", 2, ("64 MiB", "a part")),
    Case(f">>busy; echo x | flock busy {{python}} -m {ASK} --each-line --resume-output busy", 13, ("in use", "End")),
    Case("HF_HUB_OFFLINE=1 mixchat pull hf:owner/repo:Q4_K_M", 4, ("HF_HUB_OFFLINE", "mixchat list")),
    Case(f"{ASK} hi --dry-run >/dev/full", 12, ("could not be written", "Free")),
    Case(f"{ASK} hi --dry-run --format json >&-", 12, ('"code": 12',)),
]  # fmt: skip


ENDLESS = f"{ASK} 'Write a very long story.' --temperature 5 --top-k 0 --top-p 1 --min-p 0 --no-save"
KILLED = """
set -m
{{
    {{python}} -m {story} >said 2>errors &
    until [ -s said ]; do sleep 0.02; done
    kill -{name} $!; wait $!
}} 2>/dev/null
code=$?; cat errors >&2; test -s said && exit $code
"""
"""With job control a background job does not ignore Ctrl-C; what bash says of the job's end is left out."""

CRASHED = f"""
{{python}} -m {ENDLESS} >said & until pkill -SEGV -P $! -f engine.worker; do sleep 0.02; done; wait $!
"""

ANSWERED = [
    Case(f"{ASK} hi --grammar two.gbnf", 0, (), b"one\n  two\n"),
    Case(f'answer=$({ASK} hi --choices yes); echo "got: [$answer]"', 0, (), b"got: [yes]\n"),
    Case(
        f'printf \'a\\nb\\n\' | while read -r line; do {ASK} "$line" --no-stdin --choices "[$line]"; done',
        *(0, (), b"[a]\n[b]\n"),
    ),
    Case(f"{ASK} hi --choices yes <&-", 0, (), b"yes\n"),
    Case(f"printf 'x\\ny' | {ASK} --each-line --choices yes", 0, (), b"==> x <==\nyes\n\n==> y <==\nyes\n"),
    Case(f"{ASK} hi --choices yes,no --max-tokens 1 --fail-on-length", 8, ("cut off", "Allow more"), None),
    Case(f"{ASK} hi --json-schema never.json", 9, ("checked at its end: /not", "not", "--seed"), b'"a"\n'),
    Case(f"{ASK} 'Say hi.' -x --max-tokens 3 --no-save", 9, ("no code block", "")),
    Case(f"{ENDLESS} | head -c 3 >/dev/null; exit ${{PIPESTATUS[0]}}", 141),
    Case(KILLED.format(story=ENDLESS, name="HUP"), 129),
    Case(KILLED.format(story=ENDLESS, name="INT"), 130),
    Case(KILLED.format(story=ENDLESS, name="TERM"), 143),
    Case(CRASHED, 6, ("killed by SIGSEGV", "--debug")),
]


@pytest.fixture(scope="module", autouse=True)
def files(mixchat: Command) -> None:
    folder = mixchat.folder
    (folder / "binary.bin").write_bytes(b"\0\1\2\3")
    (folder / "notes.txt").write_text("Milk.\n")
    (folder / "latin.txt").write_bytes("grün\n".encode("latin-1"))
    (folder / "two.gbnf").write_text('root ::= "one\\n  two"')
    (folder / "never.json").write_text('{"enum": ["a"], "not": {"enum": ["a"]}}')
    (folder / "page.gguf").write_bytes(b"<!doctype html>")
    talk = [("user", "first " * 300), ("assistant", "ok"), ("user", "And now?")]
    (folder / "talk.json").write_text(json.dumps([{"role": role, "content": text} for role, text in talk]))


@pytest.mark.parametrize("case", USAGE + ANSWERED, ids=lambda case: case.script)
def test_a_script_gets_its_code_its_bytes_and_its_lines(case: Case, mixchat: Command) -> None:
    result = mixchat.shell(case.script.replace("{python}", '"$PYTHON"'))
    assert result.code == case.code, result.stderr
    assert case.stdout in (None, result.stdout)
    assert len(result.errors) == len(case.errors), result.stderr
    for line, words in zip(result.errors, case.errors, strict=True):
        assert words in line


EXCLUDED = [
    (AskOptions(overflow="cut"), "'cut'"),
    (AskOptions(resume_output=Path("out")), "--each-line and --each-file"),
    (AskOptions(each_line=True, each_file=["*"]), "--each-line and --each-file"),
    (AskOptions(each_line=True, no_stdin=True), "--each-line and --no-stdin"),
    (AskOptions(each_line=True, file=["-"]), "--each-line and --file -"),
    (AskOptions(each_line=True, go_on=True), "--each-line and --continue"),
    (AskOptions(messages=Path("talk.json"), go_on=True), "--messages and --continue"),
    (AskOptions(file=["-"], no_stdin=True), "--no-stdin and --file -"),
]


@pytest.mark.parametrize(("asked", "words"), EXCLUDED, ids=[words for _asked, words in EXCLUDED])
def test_options_that_exclude_each_other_are_named(asked: AskOptions, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check(asked, None)


def segments(mixchat: Command, script: str) -> tuple[list[str], dict[str, object]]:
    result = mixchat.shell(f"{script} --dry-run --format json")
    assert (result.code, result.stderr) == (0, b"")
    facts = json.loads(result.stdout)
    return [each["text"] for each in facts["segments"] if each["role"] == "user"], facts


def test_files_come_before_the_prompt_and_are_counted(mixchat: Command) -> None:
    (said,), facts = segments(mixchat, f"echo piped | {ASK} Why? -f 'l*.txt' -f - -f notes.txt")
    assert said == (
        "File latin.txt:\n```\ngrün\n```\n\nFile notes.txt:\n```\nMilk.\n```\n\nFile stdin:\n```\npiped\n```\n\nWhy?"
    )
    files = facts["attachments"]
    assert isinstance(files, list)
    assert [each["name"] for each in files] == ["latin.txt", "notes.txt", "stdin"]
    assert all(each["tokens"] > 5 for each in files)
    text = mixchat.shell(f"{ASK} Why? -f notes.txt --dry-run").text.splitlines()
    assert any(line.endswith("of them are notes.txt") for line in text)
    assert text[-2].startswith("It would load /")


@pytest.mark.parametrize(
    ("script", "prompt"),
    [
        (f"{ASK} -f notes.txt </dev/null", "File notes.txt:\n```\nMilk.\n```"),
        (f"printf 'gr\\374n' | {ASK}", "grün"),
    ],
)
def test_a_file_alone_is_a_prompt_and_so_is_latin_1(script: str, prompt: str, mixchat: Command) -> None:
    (said,), _facts = segments(mixchat, script)
    assert said == prompt


def test_old_turns_are_dropped_and_that_is_told(mixchat: Command) -> None:
    said, _facts = segments(mixchat, f"{ASK} --messages talk.json --ctx 256 --overflow drop")
    assert said == ["And now?"]


def test_json_lines_are_the_contract_s(mixchat: Command) -> None:
    result = mixchat.shell(f"{ASK} 'Tell me a story.' --format ndjson --max-tokens 4 --fail-on-length --no-save")
    assert result.code == 8
    *tokens, done = [json.loads(line) for line in result.text.splitlines()]
    assert {tuple(each) for each in tokens} == {("event", "text")}
    assert list(done) == ["event", "model", "text", "finish_reason", "usage", "timings"]
    assert "".join(each["text"] for each in tokens) == done["text"]
    assert (done["event"], done["finish_reason"]) == ("done", "length")
    (error,) = result.errors
    assert json.loads(error)["error"]["code"] == 8


def test_the_last_question_is_gone_on_with(mixchat: Command) -> None:
    home = "export MIXCHAT_HOME=$PWD/talk;"
    assert mixchat.shell(f"{home} {ASK} 'Say hi.' -s 'Be kind.' --max-tokens 2").code == 0
    said, _facts = segments(mixchat, f"{home} mixchat ask -c 'And you?'")
    assert said == ["Say hi.", "And you?"]
    assert mixchat.shell(f"{home} mixchat ask -c 'And you?' --max-tokens 2 --no-save").code == 0
    said, _facts = segments(mixchat, f"{home} mixchat ask -c Bye")
    assert said == ["Say hi.", "Bye"]
    assert mixchat.shell(f"{home} mixchat chat -c </dev/null").code == 10


def test_eight_at_once_all_answer_and_are_all_kept(mixchat: Command) -> None:
    before = set(_sessions(mixchat))
    asking = f"{ASK} {{}} --no-stdin --choices yes --format json --threads 1 --ctx 512"
    result = mixchat.shell(f'seq 8 | xargs -P8 -I{{}} "$PYTHON" -m {asking}')
    assert (result.code, result.stderr) == (0, b"")
    assert [json.loads(line)["text"] for line in result.text.splitlines()] == ["yes"] * 8
    assert sorted(title for _id, title in set(_sessions(mixchat)) - before) == [str(number) for number in range(1, 9)]


def _sessions(mixchat: Command) -> list[tuple[str, str]]:
    listed = json.loads(mixchat.run("sessions", "list", "--json").stdout)["sessions"]
    return [(each["id"], each["title"]) for each in listed]


def test_every_exit_code_is_provoked() -> None:
    assert {case.code for case in USAGE + ANSWERED} == {0, *range(2, 14), 129, 130, 141, 143}
