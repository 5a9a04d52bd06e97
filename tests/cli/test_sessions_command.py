"""`mixchat sessions`, as a user runs it."""

import json
import stat
from datetime import timedelta
from pathlib import Path

import pexpect
import pytest

from mixchat.chat.inputs import parse_messages
from mixchat.chat.journal import Answered
from mixchat.chat.messages import Turn
from mixchat.store.places import Places, find_places
from mixchat.store.session_file import session_path
from mixchat.store.session_index import list_sessions
from mixchat.store.sessions import open_session
from tests.command import Command
from tests.store.session_samples import NOW, add, made, talk


@pytest.fixture
def kept(bare: Command) -> Places:
    """The folders of the command, with two chats: `rivers` and one without a name."""
    places = find_places({"MIXCHAT_HOME": bare.environ["MIXCHAT_HOME"]})
    made(places, *talk(2), name="rivers")
    made(places, Answered(0, Turn("The sea?\x1b[2J", "Salty.")), now=NOW + timedelta(days=1))
    return places


def ids(places: Places) -> dict[str, str]:
    return {info.name: info.id for info in list_sessions(places)}


def test_no_sessions(bare: Command, tmp_path: Path) -> None:
    result = bare.run("sessions", "list")
    assert (result.code, result.stdout) == (0, b"")
    assert result.errors == ["There are no chats yet: mixchat chat"]
    assert json.loads(bare.run("sessions", "list", "--json").text) == {"sessions": []}
    assert not (tmp_path / "home" / "data").exists()


def test_listing_and_searching(bare: Command, kept: Places) -> None:
    listed = bare.run("sessions", "list")
    assert (listed.code, listed.stderr) == (0, b"")
    assert sorted(line.split()[0] for line in listed.text.splitlines()[1:]) == sorted(ids(kept).values())
    (found,) = json.loads(bare.run("sessions", "list", "SALTY sea", "--json").text)["sessions"]
    assert set(found) == {
        *("id", "name", "title", "started", "changed", "turns", "model", "bytes", "damaged", "excerpt"),
    }
    assert (found["id"], found["turns"], found["excerpt"]) == (ids(kept)[""], 1, "The sea?\x1b[2J")
    assert "Zürich" in bare.run("sessions", "list", "zürich").text
    nothing = bare.run("sessions", "list", "nowhere")
    assert (nothing.code, nothing.stdout, nothing.errors) == (0, b"", ["No chat has all these words."])
    assert bare.run("sessions", "list", "nowhere", "-q").stderr == b""


def test_showing(bare: Command, kept: Places) -> None:
    shown = bare.run("sessions", "show", "rivers")
    assert (shown.code, shown.stderr) == (0, b"")
    assert shown.text.startswith("system\nBe brief.\n\nyou\nQuestion 0\nin Zürich?\n\ndemo\nAnswer 0. \n")
    facts = json.loads(bare.run("sessions", "show", "rivers", "--json").text)
    assert (facts["name"], len(facts["turns"]), facts["model"]) == ("rivers", 2, "demo")
    assert "\x1b[2J" in bare.run("sessions", "show", ids(kept)[""]).text


def test_showing_on_a_terminal_is_clean(bare: Command, kept: Places) -> None:
    child = pexpect.spawn(
        bare.environ["PYTHON"],
        ["-m", "mixchat", "sessions", "show", ids(kept)[""]],
        env=bare.environ,
        cwd=str(bare.folder),
        timeout=60,
    )
    child.expect(pexpect.EOF)
    assert b"\x1b[2J" not in child.before
    assert "␛[2J".encode() in child.before
    child.close()


def test_damage_is_told_beside_what_is_left(bare: Command, kept: Places) -> None:
    session = ids(kept)["rivers"]
    add(kept, session, b"half a line")
    data = session_path(kept, session).read_bytes()
    shown = bare.run("sessions", "show", "rivers")
    assert shown.code == 0
    assert shown.errors == [f"The session {session} was damaged: 11 bytes of it cannot be read."]
    assert "Answer 1." in shown.text
    assert bare.run("sessions", "list").errors == [
        f"{session} is damaged; mixchat sessions show {session} shows what can be read."
    ]
    exported = bare.run("sessions", "export", "rivers", "chat.md")
    assert (exported.code, exported.errors) == (0, shown.errors)
    for command in (("show", "rivers"), ("export", "rivers", "-")):
        assert bare.run("sessions", *command, "-q").stderr == b""
    assert session_path(kept, session).read_bytes() == data


def test_exporting(bare: Command, kept: Places) -> None:
    for name in ("chat.md", "chat.JSON"):
        done = bare.run("sessions", "export", "rivers", name)
        assert (done.code, done.stdout, done.stderr) == (0, b"", b"")
        assert stat.S_IMODE((bare.folder / name).stat().st_mode) == 0o600
    text = (bare.folder / "chat.md").read_text()
    assert text.startswith("# rivers\n")
    assert bare.run("sessions", "export", "rivers", "-").text == text
    facts = json.loads((bare.folder / "chat.JSON").read_text())
    assert len(parse_messages(json.dumps(facts["messages"]))) == 5
    refused = bare.run("sessions", "export", ids(kept)[""], "chat.md")
    assert (refused.code, len(refused.errors)) == (2, 2)
    assert "--force" in refused.errors[1]
    assert (bare.folder / "chat.md").read_text() == text
    assert bare.run("sessions", "export", ids(kept)[""], "chat.md", "--force").code == 0
    assert (bare.folder / "chat.md").read_text().startswith("# The sea?")


def test_removing(bare: Command, kept: Places) -> None:
    unasked = bare.run("sessions", "rm", "rivers")
    assert (unasked.code, len(unasked.errors)) == (2, 2)
    assert "--yes" in unasked.errors[1]
    one = bare.run("sessions", "rm", "rivers", "nosuch", "--yes")
    assert (one.code, one.stdout) == (10, b"")
    assert len(list_sessions(kept)) == 2
    with open_session(kept, "rivers"):
        busy = bare.run("sessions", "rm", "rivers", "--yes")
        assert (busy.code, len(busy.errors)) == (13, 2)
    third = made(kept, *talk(1))
    assert bare.run("sessions", "rm", third, "--yes", "-q").stdout == b""
    both = tuple(ids(kept).values())
    done = bare.run("sessions", "rm", *both, both[0], "--yes")
    assert (done.code, done.stderr) == (0, b"")
    assert done.text == "".join(f"Removed {session}.\n" for session in both)
    assert list((kept.data / "sessions").iterdir()) == []


@pytest.mark.parametrize(("answer", "stays"), [("n", True), ("", True), ("y", False)])
def test_rm_asks_on_a_terminal(answer: str, stays: bool, bare: Command, kept: Places) -> None:
    session = ids(kept)["rivers"]
    child = pexpect.spawn(
        bare.environ["PYTHON"],
        ["-m", "mixchat", "sessions", "rm", "rivers"],
        env=bare.environ | {"COLUMNS": "200"},
        cwd=str(bare.folder),
        timeout=60,
        dimensions=(24, 200),
    )
    child.expect_exact(f"Remove {session} (rivers: Question 0, ")
    child.expect_exact("? [y/N] ")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert (session in ids(kept).values()) == stays


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ((), 2, ("Missing command", "mixchat sessions --help")),
        (("lst",), 2, ("No such command", "mixchat sessions --help")),
        (("show",), 2, ("Missing argument", "mixchat sessions --help")),
        (("show", "riwers"), 10, ("no session riwers", "Did you mean rivers?")),
        (("show", ""), 10, ("no session", "mixchat sessions list")),
        (("show", "202611"), 2, ("2 sessions", "20261122-0455-")),
        (("show", "../../x"), 10, ("no session", "mixchat sessions list")),
        (("export", "rivers", "chat.txt"), 2, ("neither in .md nor in .json", "endings")),
        (("export", "rivers", "."), 2, ("neither", "endings")),
        (("export", "rivers", "folder.md"), 2, ("is a folder", "another name")),
        (("export", "rivers", "none/chat.md"), 12, ("There is no folder", "Make it first")),
    ],
)
def test_an_error_is_two_lines_and_a_code(
    args: tuple[str, ...], code: int, told: tuple[str, str], bare: Command, kept: Places
) -> None:
    (bare.folder / "folder.md").mkdir()
    assert len(list_sessions(kept)) == 2
    result = bare.run("sessions", *args)
    assert (result.code, result.stdout, len(result.errors)) == (code, b"", 2), result.stderr
    assert [part in line for part, line in zip(told, result.errors, strict=True)] == [True, True], result.errors


def test_an_error_as_json(bare: Command, kept: Places) -> None:
    assert list_sessions(kept)
    result = bare.run("sessions", "show", "nosuch", "--json")
    assert result.code == 10
    assert json.loads(result.stderr)["error"]["code"] == 10
