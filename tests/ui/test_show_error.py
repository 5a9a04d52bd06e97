import json

import pytest

from mixchat.errors import MixchatError, NotFound, OutputError
from mixchat.ui.errors import show_error
from tests.fakes.streams import FakeStream

MISSING = NotFound("There is no model mixtrl.", "Did you mean mixtral?")


def shown(error: MixchatError, stream: FakeStream, *, as_json: bool = False) -> str:
    show_error(error, stream, {"TERM": "xterm"}, as_json)
    return stream.written


def test_two_lines() -> None:
    expected = "mixchat: There is no model mixtrl.\n  -> Did you mean mixtral?\n"
    assert shown(MISSING, FakeStream()) == expected
    assert shown(NotFound("Gone.", ""), FakeStream()) == "mixchat: Gone.\n"


def test_red_on_a_terminal() -> None:
    expected = "\x1b[1;31mmixchat:\x1b[0m There is no model mixtrl.\n  -> Did you mean mixtral?\n"
    assert shown(MISSING, FakeStream(terminal=True)) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_foreign_text_is_cleaned_and_stays_on_its_line(encoding: str) -> None:
    error = OutputError("\x1b]0;x\x07 in a\nb\r", "ça [/INST]\udc80")
    expected = "mixchat: ␛]0;x␇ in a␊b␍\n  -> ça [/INST]<U+DC80>\n"
    stream = FakeStream(encoding=encoding)
    shown(error, stream)
    assert stream.bytes.getvalue() == expected.encode(encoding, "backslashreplace")


def test_json_is_one_object_on_one_line() -> None:
    text = shown(NotFound("A\n中", "try"), FakeStream(encoding="ascii", terminal=True), as_json=True)
    assert text.count("\n") == 1
    assert json.loads(text) == {"error": {"code": 10, "message": "A␊中", "hint": "try"}}
