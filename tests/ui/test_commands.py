import pytest

from mixchat.errors import UsageError
from mixchat.ui.chat.commands import COMMANDS, Command, Say, help_text, parse_line


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("hello", Say("hello")),
        ("", Say("")),
        ("/help", Command("help")),
        ("/exit \n", Command("exit")),
        (" /exit", Say(" /exit")),
        ("/usr/bin", Say("/usr/bin")),
        ("/etc/passwd is what?", Say("/etc/passwd is what?")),
        ("/quit", Command("exit")),
        ("/Undo  2 ", Command("undo", "2")),
        ("/system Be brief.\nAlways.", Command("system", "Be brief.\nAlways.")),
        ("a\n/exit", Say("a\n/exit")),
    ],
)
def test_commands_and_what_is_said(line: str, meant: Say | Command) -> None:
    assert parse_line(line) == meant


SAY = " To say it to the model, begin with a space."


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("/hlep", "There is no command /hlep.", "Did you mean /help?" + SAY),
        ("/EXITT now", "There is no command /EXITT.", "Did you mean /exit?" + SAY),
        ("/", "There is no command /.", "/help lists them." + SAY),
        ("/zzz", "There is no command /zzz.", "/help lists them." + SAY),
        ("/exit now", "/exit takes no argument.", "Type /exit alone."),
        ("/save", "/save needs an argument.", "Type: /save NAME"),
    ],
)
def test_an_unknown_command_names_the_nearest(line: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_line(line)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_help_names_every_command_and_the_keys() -> None:
    lines = help_text("Ctrl-D leaves.", 80).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("/")] == [f"/{name}" for name in COMMANDS]
    assert all(len(line) <= 80 for line in lines)
    assert lines[-2:] == ["", "Ctrl-D leaves."]
