import pytest

from mixchat.errors import UsageError
from mixchat.ui.commands import Command, Say, help_text, parse_line


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
        ("/quit smoking?", Say("/quit smoking?")),
        ("/", Say("/")),
        ("a\n/exit", Say("a\n/exit")),
    ],
)
def test_commands_and_what_is_said(line: str, meant: Say | Command) -> None:
    assert parse_line(line) == meant


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("/hlep", "There is no command /hlep.", "Did you mean /help?"),
        ("/EXIT", "There is no command /EXIT.", "Did you mean /exit?"),
        ("/zzz", "There is no command /zzz.", "/help lists them."),
        ("/exit now", "/exit takes no argument.", "Type /exit alone."),
    ],
)
def test_an_unknown_command_names_the_nearest(line: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_line(line)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_help() -> None:
    assert help_text("Ctrl-D leaves.") == "/help   this list\n/exit   leave the chat\nCtrl-D leaves."
