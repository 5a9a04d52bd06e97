import base64
import json
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from mixchat.app.conversing import Conversation
from mixchat.app.shelf import Shelf
from mixchat.chat.journal import Asked
from mixchat.ui.chat.context import Chat
from mixchat.ui.chat.prompting import status_of, words_for
from mixchat.ui.chat.repl import run_chat
from mixchat.ui.chat.screen import Screen
from mixchat.ui.console import Terminal
from mixchat.ui.interrupts import LastPress
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import FakeEngine
from tests.fakes.streams import FakeStream

ENVIRON = {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "300"}
FULL = [f"question {index} " + "b" * 60 for index in range(4)]


class Person:
    """Types lines; a callable is called for its line. Remembers the drafts."""

    keys = "Ctrl-D leaves."

    def __init__(self, *lines: str | Callable[[], str]) -> None:
        self.last_press = LastPress()
        self.drafts: list[str] = []
        self._lines = iter(lines)

    def read(self, draft: str) -> str | None:
        self.drafts.append(draft)
        line = next(self._lines, None)
        return line() if callable(line) else line

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass
class Held:
    """A chat that was held: what was said to whom, and shown."""

    talk: Conversation
    shelf: Shelf
    engine: FakeEngine
    out: str
    err: str
    drafts: list[str]

    @property
    def answers(self) -> list[str]:
        return [turn.assistant for turn in self.talk.transcript.turns]

    @property
    def said(self) -> list[str]:
        return [turn.user for turn in self.talk.transcript.turns]


Hold = Callable[..., Held]


def ctrl_c() -> str:
    raise KeyboardInterrupt


@pytest.fixture
def hold(make_house: MakeHouse, settings: MakeSettings, model_file: Path, tmp_path: Path) -> Hold:
    """Hold a chat with these lines and replies; `resume` goes on with a session, `saving` keeps a new one."""

    def begin(
        lines: list[str | Callable[[], str]],
        replies: list[str],
        *,
        saving: bool = False,
        resume: str | None = None,
        environ: dict[str, str] = ENVIRON,
        **flags: object,
    ) -> Held:
        engine = FakeEngine(*replies)
        house = make_house(engine)
        shelf = Shelf(house, saving=saving or resume is not None)
        log = shelf.new() if resume is None else shelf.open(resume)
        talk = Conversation(house, settings(output="raw", **flags), str(model_file), log)
        person = Person(*lines)
        streams = [FakeStream(terminal=True) for _ in range(3)]
        screen = Screen(Terminal(streams[0], streams[1], streams[2], environ))
        try:
            assert run_chat(Chat(talk, screen, person, shelf, tmp_path)) == 0
        finally:
            talk.close()
        return Held(talk, shelf, engine, streams[1].written, streams[2].written, person.drafts)

    return begin


def test_help_lists_commands_and_keys(hold: Hold) -> None:
    held = hold(["/help", "/h"], [])
    assert held.err.count("/regen") == 2
    assert "Ctrl-D leaves." in held.err
    narrow = hold(["/help"], [], environ={**ENVIRON, "COLUMNS": "40"})
    assert all(len(line) < 40 for line in narrow.err.splitlines()[1:])
    assert "\n/undo [N]\n    take back the last turn, or N of\n    them\n" in narrow.err


def test_undo_regen_and_continue(hold: Hold) -> None:
    held = hold(["one", "two", "/regen", "/continue", "/undo", "/undo 1", "/undo"], ["A", "B", "C", "D"])
    assert held.answers == []
    assert held.out == "A\n\nB\n\nC\n\nD\n\n"
    assert "The last turn is taken back, from: two" in held.err
    assert "There is no turn to undo." in held.err
    assert held.engine.generations[3].tokens[-1] >= 1_000_000


def test_a_turn_count_that_is_none(hold: Hold) -> None:
    held = hold(["/undo x", "/undo 0", "/edit 9999999", "/regen", "/continue"], [])
    assert held.err.count("is no number of messages") == 3
    assert held.err.count("Nothing was said yet.") == 2


def test_edit_a_message_and_go_on_from_there(hold: Hold) -> None:
    held = hold(["one", "two", "/edit 1", "uno", "/show"], ["A", "B", "C"])
    assert held.drafts[3] == "one"
    assert (held.said, held.answers) == (["uno"], ["C"])
    assert "The 3 later messages are given up then; a checkpoint keeps them." in held.err
    assert "1  user       uno" in held.err


def test_edit_an_answer(hold: Hold) -> None:
    held = hold(["one", "/edit 2", "Better", "two"], ["A", "B"])
    assert held.drafts[2] == "A"
    assert (held.said, held.answers) == (["one", "two"], ["Better", "B"])
    assert "The answer is changed; the chat goes on from there." in held.err


def test_editing_can_be_left_and_takes_anything_as_text(hold: Hold) -> None:
    held = hold(["one", "/edit 1", "", "/edit 3", "/edit 1", "/tokens", "two"], ["A", "B"])
    assert held.err.count("The message stays as it was.") == 2
    assert "There are 2 messages, so 3 cannot be edited." in held.err
    assert held.said == ["one", "two"]


def test_ctrl_c_leaves_the_editing(hold: Hold) -> None:
    held = hold(["one", "/edit 2", ctrl_c, "two"], ["A", "B"])
    assert held.answers == ["A", "B"]
    assert "The message stays as it was." in held.err


def test_an_edit_that_was_not_answered_is_still_an_edit(hold: Hold) -> None:
    held = hold(["one", "two", "/edit 1", "x" * 600, "uno"], ["A", "B", "C"])
    assert held.drafts[4] == "x" * 600
    assert (held.said, held.answers) == (["uno"], ["C"])


def test_what_was_given_up_can_be_gone_back_to(hold: Hold) -> None:
    held = hold(["one", "two", "/undo 2", "/back", "/regen", "/back undone 1"], ["A", "B", "C"])
    assert "/back undone 1 brings it back." in held.err
    assert (held.said, held.answers) == (["one", "two"], ["A", "B"])


def test_a_file_that_cannot_be_written_ends_no_chat(hold: Hold, tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("x")
    held = hold(["one", "/export no/x.md", "/export there.md", "/export out.txt", "two"], ["A", "B"])
    assert held.said == ["one", "two"]
    assert "There is no folder" in held.err
    assert "there.md is there already.\n  -> Give another name.\n" in held.err


def test_edit_opens_an_editor(hold: Hold, tmp_path: Path) -> None:
    script = tmp_path / "editor.py"
    script.write_text("import sys; open(sys.argv[1], 'w').write('long text\\n')")
    held = hold(["/edit", "/edit"], [], environ={**ENVIRON, "EDITOR": f"{sys.executable} {script}"})
    assert held.drafts == ["", "long text", "long text"]


def test_fork_and_back(hold: Hold) -> None:
    held = hold(["one", "/fork", "two", "/back", "/fork here", "three", "/back here", "/back x"], ["A", "B", "C"])
    assert held.said == ["one"]
    assert "Checkpoint 'fork 1' is set" in held.err
    assert "Back at 'here': 1 turn." in held.err
    assert "There is no checkpoint 'x'.\n  -> There are: fork 1, left 1, here, left 2." in held.err
    assert "There is no checkpoint." in hold(["/back"], []).err


def test_the_system_text_and_what_changing_it_costs(hold: Hold) -> None:
    held = hold(["/system", "one", "/system Be brief.", "/system", "/system none"], ["A"])
    assert "There is no system text. /system TEXT sets one." in held.err
    assert re.search(r"The system text is set\. Your next message evaluates \d+ tokens again\.", held.err)
    assert "\nBe brief.\n" in held.err
    assert held.err.rstrip().endswith("The system text is gone.")
    assert held.talk.transcript.system == ""


def test_settings(hold: Hold) -> None:
    lines = ["/set temperature 0.2", "/set temperature", "/set", "/show settings", "/set temperature default"]
    held = hold([*lines, "/set heat 3", "/set temprature 1", "/set top_p 7", "/set ctx 256", "hi"], ["A"])
    assert "temperature is 0.2 now." in held.err
    assert "temperature 0.2 (chat)" in held.err
    assert "temperature is 0.7 now." in held.err
    assert "A chat has no setting 'heat'." in held.err
    assert "Did you mean temperature?" in held.err
    assert "top_p: 7.0 is not a number" in held.err or "7.0 is not" in held.err
    assert "ctx is 256 now. Your next message loads the model again." in held.err
    assert [load.context for load in held.engine.loads] == [512, 256]


def test_a_setting_with_which_the_model_does_not_fit_is_refused_at_once(hold: Hold) -> None:
    held = hold(["one", "/set ctx 900000000", "two"], ["A", "B"])
    assert " needs " in held.err
    assert "/set ctx" in held.err
    assert held.talk.dialogue.values == {}
    assert len(held.engine.loads) == 1


def test_raw_toggles_markdown(hold: Hold) -> None:
    held = hold(["/raw", "say it", "/raw", "again"], ["**A**", "**B**"], environ={"TERM": "xterm", "COLUMNS": "80"})
    first, second, *_rest = held.out.split("\n\n")
    assert "A" in first
    assert "**" not in first
    assert second == "**B**"


def test_what_is_shown(hold: Hold) -> None:
    words = ["system", "settings", "plan", "prompt", "stats", "thinking", "plam"]
    held = hold(["one", *(f"/show {word}" for word in words), "/tokens", "/plan"], ["A"])
    for seen in ("There is no system text", "temperature", "fits: context 512", "turn 1", "prefill", "Did you mean"):
        assert seen in held.err, seen
    assert "The model has not thought aloud." in held.err
    assert "in all" in held.err
    nothing = hold(["/show prompt", "/show stats", "/tokens", "/show"], [])
    for seen in ("Nothing is evaluated yet.", "There is no answer yet.", "Nothing is in the context yet."):
        assert seen in nothing.err, seen


def test_models(hold: Hold, model_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(model_file.read_bytes())
    held = hold(["/model", "/model nonesuch.gguf", "one", f"/model {other}", "two"], ["A", "B"])
    assert ", loaded. On this machine: no model." in held.err
    assert "nonesuch.gguf" in held.err
    assert held.talk.dialogue.model == str(other)
    assert [load.path for load in held.engine.loads] == [str(model_file), str(other)]
    assert held.answers == ["A", "B"]


def test_files_go_with_the_next_message(hold: Hold, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print(1)\n")
    (tmp_path / "b c.py").write_text("print(2)\n")
    held = hold(
        ["/file", "/file a.py 'b c.py'", "What is it?", "/file a.py", "/file none", "/file x'", "so"], ["A", "B"]
    )
    assert "No files go with the next message. /file PATH" in held.err
    assert re.search(r"\d+ tokens  a\.py\n +\d+ tokens  b c\.py\n", held.err)
    assert "A quotation mark has no partner." in held.err
    assert held.said[0].startswith("File a.py:\n```\nprint(1)\n```")
    assert held.said[0].endswith("What is it?")
    assert held.said[1] == "so"


def test_files_stay_when_there_is_no_answer(hold: Hold, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("x" * 600)
    held = hold(["/file long.txt", "What?"], [])
    assert "exceeds" in held.err or "tokens" in held.err
    assert held.drafts[-1] == "What?"
    assert held.said == []


def test_copy(hold: Hold) -> None:
    answer = "Look:\n```\nls -l\n```\nDone."
    held = hold(["/copy", "one", "/copy", "/copy code", "/copy all"], [answer])
    sent = [base64.b64decode(each).decode() for each in re.findall(r"\x1b\]52;c;([^\x07]*)\x07", held.out)]
    assert sent == [answer, "ls -l"]
    assert "There is no answer to copy." in held.err
    assert "Sent 5 characters to the terminal's clipboard." in held.err
    assert "/copy takes no 'all'." in held.err


def test_sessions_are_named_listed_loaded_and_exported(hold: Hold, tmp_path: Path) -> None:
    first = hold(["about whales", "/save whales"], ["Big."], saving=True)
    second = hold(["/sessions", "/sessions whales", "/sessions zebra", "/load whales", "more", "/export w.md"], ["So."],
                  saving=True)  # fmt: skip
    assert "whales: about whales" in second.err
    assert "No session has these words." in second.err
    assert "Session 'whales' of 1 turn" in second.err
    assert second.said == ["about whales", "more"]
    assert second.talk.session == first.talk.session
    assert "Big." in (tmp_path / "w.md").read_text()
    third = hold(["/export w.md", "/export w.json", "/load whales", "/load nope"], [], resume="whales")
    assert "is there already" in third.err
    assert [each["content"] for each in json.loads((tmp_path / "w.json").read_text())["messages"]][-1] == "So."
    assert "That is this session." in third.err
    assert "There is no session nope." in third.err


def test_a_chat_that_is_not_saved(hold: Hold, tmp_path: Path) -> None:
    held = hold(["hi", "/save x", "/load", "/export a.md", "/sessions", "/clear"], ["A"])
    assert "This chat is not saved, so it can have no name." in held.err
    assert "This chat is not saved, so it cannot go on with a session." in held.err
    assert "A" in (tmp_path / "a.md").read_text()
    assert "There is no session yet." in held.err
    assert held.err.rstrip().endswith("A new chat begins.")
    places = held.shelf.house.places
    assert not any(
        folder.exists() for folder in (places.data / "sessions", places.cache / "kv", places.state / "history")
    )


def test_clear_begins_a_new_session_with_the_same_system_text(hold: Hold) -> None:
    held = hold(["/system Be brief.", "one", "/clear", "two"], ["A", "B"], saving=True)
    assert held.said == ["two"]
    assert held.talk.transcript.system == "Be brief."
    assert len(held.shelf.all()) == 2
    assert "The one before is session 20" in held.err


def test_a_session_goes_on_with_what_was_never_answered(hold: Hold) -> None:
    first = hold(["one"], ["A"], saving=True)
    session = first.shelf.open("")
    session.append(Asked("precious"))
    session.close()
    again = hold([], [], resume="")
    assert again.drafts == ["precious"]
    assert "> one" in again.err


@pytest.mark.parametrize(
    ("choice", "said", "notice"),
    [
        ("d", 4, "are left out of the prompt from here on"),
        ("drop", 4, "are left out of the prompt from here on"),
        ("s", 4, "a summary stands for them"),
        ("c", 3, ""),
        ("no", 3, ""),
    ],
)
def test_a_full_context_is_a_choice(hold: Hold, choice: str, said: int, notice: str) -> None:
    held = hold([*FULL, "what?", choice], ["a" * 40, "b" * 40, "c" * 40, "d" * 40, "e" * 40])
    assert "The context is full: with this message the prompt has" in held.err
    assert "  d  drop the" in held.err
    assert "Type one of the letters." in held.err
    assert len(held.said) == said
    assert notice in held.err
    assert held.drafts[-1] == (FULL[3] if said == 3 else "")


def test_no_choice_at_the_end_of_input_is_a_cancel(hold: Hold) -> None:
    held = hold(list(FULL), ["a" * 40, "b" * 40, "c" * 40])
    assert len(held.said) == 3
    assert held.drafts[-1] == FULL[3]


def test_tab_and_the_bottom_line_know_the_chat(hold: Hold) -> None:
    held = hold(["one", "/fork here", "/save it"], ["A"], saving=True)
    words = words_for(held.talk, held.shelf)
    offered = {
        line: [choice.text for choice in words.complete(line)] for line in ("/re", "/set overf", "/back h", "/load i")
    }
    assert offered["/re"] == ["/regen"]
    assert offered["/set overf"] == ["overflow"]
    assert offered["/back h"] == ["here"]
    assert "it" in offered["/load i"]
    assert [choice.text for choice in words.complete("/set overflow dr")] == ["drop"]
    status = status_of(held.talk, "pirate")
    assert status(200).endswith("| raw | pirate | it")
    assert "/512" in status(200)
    assert all(len(status(width)) <= width for width in range(1, 100))


def test_the_persona_fills_the_first_message_only(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("A", "B")
    house = make_house(engine)
    talk = Conversation(house, settings(output="raw"), str(model_file))
    streams = [FakeStream(terminal=True) for _ in range(3)]
    screen = Screen(Terminal(streams[0], streams[1], streams[2], ENVIRON))
    chat = Chat(talk, screen, Person("x", "y"), Shelf(house, saving=False), Path(), lambda text: f"Review: {text}")
    assert run_chat(chat) == 0
    assert [turn.user for turn in talk.transcript.turns] == ["Review: x", "y"]
