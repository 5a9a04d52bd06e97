import json
from pathlib import Path

import pytest

from mixchat.errors import InUse, OutputError, UsageError
from mixchat.store.results import Done, open_results


def done(index: int, text: str = "in") -> dict[str, object]:
    return {"event": "done", "index": index, "input": text, "text": "out"}


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_results_are_lines_that_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    with open_results(path) as results:
        assert (dict(results.done), results.notices) == ({}, ())
        results.append(done(0, "a"))
        results.append({**done(2, "c"), "request": "mark"})
    assert path.stat().st_mode & 0o777 == 0o600
    with open_results(path) as results:
        assert dict(results.done) == {0: Done("a"), 2: Done("c", "mark")}
        results.append(done(1))
    assert lines(path) == [done(0, "a"), {**done(2, "c"), "request": "mark"}, done(1)]


def test_every_half_line_at_the_end_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    whole = json.dumps(done(0)).encode() + b"\n"
    second = json.dumps(done(1)).encode() + b"\n"
    for cut in range(1, len(second)):
        path.write_bytes(whole + second[:cut])
        with open_results(path) as results:
            assert dict(results.done) == {0: Done("in")}
            assert f"{cut} bytes" in results.notices[0]
            results.append(done(1))
        assert path.read_bytes() == whole + second
    assert second[:-1] + b"\n" in (tmp_path / "out.ndjson.damaged").read_bytes()


def test_a_first_line_that_was_cut_is_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    path.write_bytes(b'{"event": "do')
    with open_results(path) as results:
        assert dict(results.done) == {}
    assert path.read_bytes() == b""


def test_failed_items_are_tried_again_and_doubles_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    failed = {"event": "error", "index": 1, "input": "b", "error": {"code": 7}}
    path.write_text("".join(json.dumps(each) + "\n" for each in (done(0), failed, done(2), done(0, "in"))))
    with open_results(path) as results:
        assert set(results.done) == {0, 2}
        assert results.notices == ()
        with pytest.raises(InUse):
            open_results(path)
    assert lines(path) == [done(0), done(2)]


@pytest.mark.parametrize("content", ["notes\n", '{"a": 1}\n', "[]\n", "[" * 100_000 + "\n"])
def test_another_file_is_not_touched(content: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(UsageError, match="something else"):
        open_results(path)
    assert path.read_text() == content


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file"):
        open_results(Path("/dev/null"))
    with pytest.raises(OutputError, match="cannot be opened"):
        open_results(tmp_path / "none" / "out")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with open_results(tmp_path / "link") as results:
        results.append(done(0))
    assert lines(tmp_path / "out") == [done(0)]
