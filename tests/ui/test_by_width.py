import pytest

from mixchat.ui.by_width import ByWidth
from mixchat.ui.output import print_out
from tests.fakes.streams import FakeStream

ROWS = (("0", "1.5", "-"), ("mean", "2.5", "3.5"))


def drawn(table: ByWidth, width: int) -> str:
    stream = FakeStream(terminal=True)
    print_out(stream, {"TERM": "xterm", "COLUMNS": str(width), "NO_COLOR": "1"}, table)
    return stream.written


@pytest.mark.parametrize(("numbered", "first"), [(False, "0"), (True, "layer 0")])
def test_a_number_is_named_in_the_list(first: str, *, numbered: bool) -> None:
    table = ByWidth(("layer", "evenness", "max/min"), ROWS, numbered=numbered)
    assert drawn(table, 20).splitlines()[:3] == [first, "  evenness 1.5", "mean"]
    assert drawn(table, 40).splitlines()[1].split() == ["0", "1.5", "-"]
