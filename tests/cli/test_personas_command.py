"""Personas as a user has them: listed, shown, edited, and put in front of `ask`."""

import json
from pathlib import Path

import pexpect
import pytest

from tests.command import Command, Result

DIFF = b"""\
diff --git a/a.py b/a.py
--- a/a.py
+++ b/a.py
@@ -1 +1 @@
-print("{old}")
+print(f"{new}")
"""
PERSONA = """\
description = "Says it in verse"
system = "You are a poet."
temperature = 0.3
seed = 7
prompt = "In verse: {input}!"
"""


def own(command: Command, name: str) -> Path:
    path = Path(command.environ["MIXCHAT_HOME"]) / "config" / "personas" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def segments(result: Result) -> list[tuple[str, str]]:
    assert result.code == 0, result.stderr
    return [(segment["role"], segment["text"]) for segment in json.loads(result.text)["segments"]]


@pytest.fixture
def poet(mixchat: Command) -> Path:
    path = own(mixchat, "poet")
    path.write_text(PERSONA)
    return path


DRY = ("--dry-run", "--format", "json", "-m", "demo")


def test_a_diff_becomes_the_prompt_of_a_review(mixchat: Command) -> None:
    said = dict(segments(mixchat.run("ask", "-p", "review", *DRY, stdin=DIFF)))
    assert said["user"].startswith("```diff\n" + DIFF.decode() + "```\n\nReview this diff.")
    assert said["system"].startswith("You are an experienced programmer")


@pytest.mark.usefixtures("poet")
@pytest.mark.parametrize(
    ("args", "stdin", "system", "user"),
    [
        (("rain", "-p", "poet"), b"", "You are a poet.", "In verse: rain!"),
        (("rain", "--persona", "poet"), b"and {input}\n", "You are a poet.", "In verse: rain\n\nand {input}!"),
        (("rain", "-p", "poet", "-s", "Be brief."), b"", "Be brief.", "In verse: rain!"),
    ],
)
def test_flags_win_over_the_persona(
    args: tuple[str, ...], stdin: bytes, system: str, user: str, mixchat: Command
) -> None:
    said = dict(segments(mixchat.run("ask", *args, *DRY, stdin=stdin)))
    assert (said["system"], said["user"]) == (system, user)


@pytest.mark.usefixtures("poet")
def test_whole_conversations_take_system_text_and_sampling_only(mixchat: Command) -> None:
    talk = b'[{"role": "user", "content": "rain"}]'
    said = dict(segments(mixchat.run("ask", "-p", "poet", "--messages", "-", *DRY, stdin=talk)))
    assert (said["system"], said["user"]) == ("You are a poet.", "rain")
    with_system = b'[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "rain"}]'
    refused = mixchat.run("ask", "-p", "poet", "--messages", "-", "-m", "demo", stdin=with_system)
    assert (refused.code, len(refused.errors)) == (2, 2)
    assert "the persona poet has a system text too" in refused.errors[0]
    assert (
        "Be brief."
        in dict(
            segments(mixchat.run("ask", "-p", "poet", "-s", "", "--messages", "-", *DRY, stdin=with_system))
        ).values()
    )


def test_its_model_and_sampling_are_used(mixchat: Command) -> None:
    own(mixchat, "greedy").write_text('model = "demo"\ntemperature = 0\nmax_tokens = 4\n')
    said = json.loads(mixchat.run("ask", "Name a colour.", "-p", "greedy", "--format", "json").text)
    assert (said["model"], said["usage"]["completion_tokens"], said["finish_reason"]) == ("demo", 4, "length")
    shorter = mixchat.run("ask", "Name a colour.", "-p", "greedy", "--max-tokens", "2", "--format", "json")
    less = json.loads(shorter.text)
    assert less["usage"]["completion_tokens"] == 2
    assert said["text"].startswith(less["text"])


@pytest.mark.parametrize(
    ("args", "code", "message", "hint"),
    [
        (("ask", "hi", "-p", "reviw"), 10, "no persona reviw", "Did you mean review?"),
        (("ask", "hi", "-p", "../x"), 2, "no name of a persona", "mixchat personas list"),
        (("chat", "-p", "broken"), 2, "broken.toml, line 2: a persona has no key 'sytem'.", "Did you mean system?"),
        (("personas", "show", "broken"), 2, "broken.toml, line 2", "system"),
        (("personas", "show", "nosuch"), 10, "no persona nosuch", "mixchat personas edit nosuch"),
        (("personas", "edit", "a/b"), 2, "no name of a persona", ""),
        (("personas", "shwo"), 2, "shwo", "mixchat personas --help"),
        (("personas",), 2, "Missing command", "mixchat personas --help"),
        (("personas", "show"), 2, "NAME", "mixchat personas --help"),
    ],
)
def test_an_error_is_two_lines_and_a_code(
    args: tuple[str, ...], code: int, message: str, hint: str, bare: Command
) -> None:
    own(bare, "broken").write_text('description = "x"\nsytem = "y"\n')
    result = bare.run(*args)
    assert (result.code, result.stdout, len(result.errors)) == (code, b"", 2), result.stderr
    assert message in result.errors[0]
    assert hint in result.errors[1]


def test_list(bare: Command) -> None:
    own(bare, "poet").write_text(PERSONA)
    own(bare, "broken").write_text("temperature = 9\n")
    result = bare.run("personas", "list")
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in result.text.splitlines()}
    assert (result.code, result.stderr) == (0, b"")
    assert rows["poet"] == ["you", "Says it in verse"]
    assert rows["review"] == ["mixchat", "A code review of a diff: git diff | mixchat ask -p review"]
    assert "damaged: " in rows["broken"][1]
    facts = {each["name"]: each for each in json.loads(bare.run("personas", "list", "--json").text)["personas"]}
    assert "line 1" in facts["broken"]["problem"]
    assert (facts["poet"]["shipped"], facts["review"]["shipped"]) == (False, True)


def test_show(bare: Command) -> None:
    path = own(bare, "poet")
    path.write_text(PERSONA)
    assert bare.run("personas", "show", "poet").text == (
        "name            poet\n"
        "description     Says it in verse\n"
        f"path            {path}\n"
        "temperature     0.3\n"
        "seed            7\n"
        "\nsystem:\nYou are a poet.\n"
        "\nprompt:\nIn verse: {input}!\n"
    )
    assert json.loads(bare.run("personas", "show", "poet", "--json").text) == {
        "name": "poet",
        "description": "Says it in verse",
        "path": str(path),
        "shipped": False,
        "system": "You are a poet.",
        "prompt": "In verse: {input}!",
        "settings": {"temperature": 0.3, "seed": 7},
    }
    path.write_text("")
    assert bare.run("personas", "show", "poet").text == f"name            poet\npath            {path}\n"


def test_without_a_terminal_edit_prints_the_path(bare: Command) -> None:
    path = own(bare, "mine")
    for name, begins in (
        ("review", 'description = "A code review'),
        ("mine", "# A persona for `mixchat chat -p mine`"),
    ):
        path = own(bare, name)
        assert bare.run("personas", "edit", name).text == f"{path}\n"
        assert path.read_text().startswith(begins)
        assert path.stat().st_mode & 0o777 == 0o600
        assert bare.run("personas", "show", name).code == 0
    path.write_text("seed = 1\n")
    assert bare.run("personas", "edit", "mine").text == f"{path}\n"
    assert path.read_text() == "seed = 1\n"


def edit(command: Command, name: str, script: str | None) -> tuple[int | None, str]:
    """Run `edit` on a terminal; the editor is a shell script that gets the file as $1."""
    environ = {**command.environ, "COLUMNS": "300"}
    if script is not None:
        editor = command.folder / "editor.sh"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o700)
        environ["EDITOR"] = str(editor)
    child = pexpect.spawn(
        environ["PYTHON"],
        ["-m", "mixchat", "personas", "edit", name],
        env=environ,
        cwd=str(command.folder),
        timeout=60,
        encoding="utf-8",
    )
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, (child.before or "").replace("\r\n", "\n")


def test_edit_writes_what_the_editor_leaves(bare: Command) -> None:
    path = own(bare, "poet")
    code, said = edit(bare, "poet", 'grep -q \'{input}\' "$1" && echo \'system = "You are a poet."\' > "$1"')
    assert (code, said) == (0, f"Wrote {path}. Try: mixchat chat -p poet\n")
    assert path.read_text() == 'system = "You are a poet."\n'
    code, said = edit(bare, "review", "sed -i 's/^temperature = .*/temperature = 0/' \"$1\"")
    assert code == 0
    assert 'description = "A code review' in own(bare, "review").read_text()
    assert json.loads(bare.run("personas", "show", "review", "--json").text)["settings"]["temperature"] == 0


def test_an_editor_that_changes_nothing_leaves_nothing(bare: Command) -> None:
    assert edit(bare, "poet", "true") == (0, "Nothing was changed.\n")
    assert not own(bare, "poet").exists()


def test_a_mistake_is_told_and_the_file_kept(bare: Command) -> None:
    path = own(bare, "poet")
    code, said = edit(bare, "poet", "echo 'temprature = 1' > \"$1\"")
    assert code == 2
    assert f"{path}, line 1: a persona has no key 'temprature'." in said
    assert "Did you mean temperature? Again: mixchat personas edit poet" in said
    assert path.read_text() == "temprature = 1\n"


def test_without_an_editor_the_path_is_told(bare: Command) -> None:
    path = own(bare, "poet")
    assert "EDITOR" not in bare.environ
    code, said = edit(bare, "poet", None)
    assert code == 2
    assert f"No editor is set; the file is {path}." in said
    assert path.exists()
