"""A chat with the demo model as a script holds it: a line is a message; what is kept is read by the other commands."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.command import Command, wait_for

LONG = "Remember these words: " + " ".join(f"word{number}" for number in range(60)) + "."
OPTIONS = ("-m", "demo", "--temperature", "0", "--max-tokens", "12")


@pytest.fixture
def home(mixchat: Command, tmp_path: Path) -> Command:
    """The command with sessions of its own."""
    command = Command(tmp_path / "home", tmp_path, MIXCHAT_MODELS=mixchat.environ["MIXCHAT_MODELS"])
    source = Path(mixchat.environ["MIXCHAT_HOME"]) / "state"
    target = tmp_path / "home" / "state"
    target.mkdir(parents=True, mode=0o700)
    for file in source.glob("*.json"):
        (target / file.name).write_bytes(file.read_bytes())
    return command


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def cached(errors: list[str]) -> list[tuple[int, int]]:
    """Tokens of each prompt that `/show stats` told, and how many of them were cached."""
    found = (re.search(r"prompt +(\d+) tokens, (\d+) of them cached", line) for line in errors)
    return [(int(match[1]), int(match[2])) for match in found if match]


def test_a_session_goes_on_from_its_kept_state(home: Command) -> None:
    first = home.run("chat", *OPTIONS, stdin=f"{LONG}\n/save words\n".encode())
    assert first.code == 0, first.stderr
    folder = Path(home.environ["MIXCHAT_HOME"])
    (kept,) = (folder / "cache" / "kv").glob("*.kv")
    (session,) = (folder / "data" / "sessions").glob("*.jsonl")
    assert (kept.stat().st_mode & 0o777, session.stat().st_mode & 0o777) == (0o600, 0o600)
    again = home.run("chat", "-c", "--max-tokens", "12", stdin=b"Go on.\n/show stats\n/regen\n/show stats\n")
    assert again.code == 0, again.stderr
    (total, reused), (same, all_of_it) = cached(again.errors)
    assert reused > 120
    assert total - reused < 40
    assert all_of_it == same - 1
    turns = json.loads(home.run("sessions", "show", "words", "--json").text)["turns"]
    assert [turn["user"] for turn in turns] == [LONG, "Go on."]
    assert home.run("sessions", "rm", "words", "--yes").code == 0
    assert not kept.exists()
    assert not session.exists()


def test_a_damaged_state_is_rebuilt_and_that_is_told(home: Command) -> None:
    assert home.run("chat", *OPTIONS, stdin=f"{LONG}\n".encode()).code == 0
    (kept,) = (Path(home.environ["MIXCHAT_HOME"]) / "cache" / "kv").glob("*.kv")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    again = home.run("chat", "-c", "--max-tokens", "12", stdin=b"Go on.\n/show stats\n")
    assert again.code == 0, again.stderr
    assert any("tokens of this chat are evaluated again: " in line for line in again.errors)
    assert cached(again.errors)[0][1] == 0
    assert again.text.strip()


def test_a_terminated_chat_keeps_what_was_said(home: Command) -> None:
    with home.start("chat", "-m", "demo", "--temperature", "0", stdin=-1) as running:
        assert running.process.stdin is not None
        running.process.stdin.write(b"Tell me a long story.\n")
        running.process.stdin.flush()
        wait_for(lambda: running.read_some().count(b" ") > 5)
        running.process.send_signal(signal.SIGTERM)
        said = running.finish()
    assert said.code == -signal.SIGTERM
    (turn,) = json.loads(
        home.run("sessions", "show", home.run("sessions", "list").text.split("\n")[1].split()[0], "--json").text
    )["turns"]
    assert turn["interrupted"]
    assert turn["assistant"].startswith(said.stdout.decode().strip()[:20])


def test_a_killed_chat_gives_the_words_back(home: Command) -> None:
    with home.start("chat", "-m", "demo", stdin=-1) as running:
        assert running.process.stdin is not None
        running.process.stdin.write(b"Tell me a long story.\n")
        running.process.stdin.flush()
        wait_for(lambda: running.read_some().count(b" ") > 5)
        running.process.kill()
        running.finish()
    shown = json.loads(home.run("sessions", "list", "--json").text)["sessions"]
    assert [each["turns"] for each in shown] == [0]
    assert "Tell me a long story." in home.run("sessions", "show", shown[0]["id"]).text


def test_no_save_leaves_no_byte(home: Command) -> None:
    folder = home.folder
    before = files(folder)
    done = home.run("chat", *OPTIONS, "--no-save", stdin=f"{LONG}\n/fork\n/undo\nHi\n".encode())
    assert done.code == 0, done.stderr
    assert files(folder) == before


def test_a_system_text_and_a_model_of_now_count_more_than_those_of_then(home: Command) -> None:
    home.run("chat", *OPTIONS, "-s", "Be brief.", stdin=b"Hi\n")
    done = home.run("chat", "-c", "-s", "Be long.", "--max-tokens", "3", stdin=b"/system\n")
    assert "Be long." in done.errors
    same = home.run("chat", "-c", stdin=b"/system\n")
    assert "Be brief." in same.errors


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("-c",), 10, "There is no session to go on with."),
        (("--resume", "nope"), 10, "There is no session nope."),
        (("-c", "--resume", "x"), 2, "--continue and --resume are both given."),
        (("-c", "--no-save"), 2, "This chat is not saved"),
        (("-p", "nope"), 10, "nope"),
        (("demo", "-m", "demo"), 2, "Two models are given: demo and demo."),
    ],
)
def test_wrong_usage(home: Command, options: tuple[str, ...], code: int, message: str) -> None:
    done = home.run("chat", *options)
    assert (done.code, done.stdout) == (code, b"")
    assert message in done.errors[0]
    assert done.errors[1].startswith("  -> ")


def test_a_session_that_is_open_elsewhere_is_in_use(home: Command) -> None:
    home.run("chat", *OPTIONS, stdin=b"Hi\n/save it\n")
    with home.start("chat", "--resume", "it", stdin=-1) as running:
        running.worker()
        done = home.run("chat", "-c")
        assert (done.code, "is open in another terminal" in done.errors[0]) == (13, True)
        running.process.send_signal(signal.SIGTERM)
        running.finish()


def test_a_full_context_on_a_pipe_is_an_error_that_names_the_choice(home: Command) -> None:
    lines = f"{LONG}\n{LONG}\n{LONG}\n".encode()
    done = home.run("chat", *OPTIONS, "--ctx", "512", stdin=lines)
    assert done.code == 7
    assert "MIXCHAT_OVERFLOW=drop" in done.errors[-1]
    dropped = home.run("chat", *OPTIONS, "--ctx", "512", stdin=lines, env={"MIXCHAT_OVERFLOW": "drop"})
    assert dropped.code == 0, dropped.stderr
    assert any("left out of the prompt from here on" in line for line in dropped.errors)
