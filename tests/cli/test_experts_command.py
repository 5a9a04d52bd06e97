"""`mixchat experts` and `ask --trace-experts`: with a scripted engine in this process, and once as a user runs it."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mixchat.app.house import House
from mixchat.cli.main import run
from mixchat.cli.signals import Signalled
from tests.app.conftest import MakeHouse
from tests.command import Command, wait_for_busy
from tests.fakes.engine import FakeEngine
from tests.plan.machines import dense

Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True, slots=True)
class Told:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, object]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Run = Callable[..., Told]


@pytest.fixture
def mix(
    make_house: MakeHouse,
    two_layers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> Run:
    """Run a command in a folder with some files; 130 for Ctrl-C."""
    (tmp_path / "a.py").write_text("def f(x):\n    return x + 1\n")
    (tmp_path / "b.py").write_text("class B:\n    y = 2\n")
    (tmp_path / "c.txt").write_text("The quick brown fox jumps over the dog.\n")
    (tmp_path / "d.bin").write_bytes(b"\0\1\2\3")
    (tmp_path / "e.txt").write_text("")
    for form in ("html", "svg", "json"):
        (tmp_path / f"full.{form}").symlink_to("/dev/full")
    monkeypatch.chdir(tmp_path)

    def go(*arguments: str, engine: FakeEngine | None = None, stdin: str = "", command: str = "experts") -> Told:
        used = engine or FakeEngine("An answer.")

        @contextmanager
        def open_house(**_options: object) -> Iterator[House]:
            yield make_house(used)

        monkeypatch.setattr("mixchat.cli.wiring.open_house", open_house)
        monkeypatch.setattr("mixchat.cli.ask.open_house", open_house, raising=False)
        (tmp_path / ".stdin").write_text(stdin)
        with (tmp_path / ".stdin").open() as piped:
            monkeypatch.setattr(sys, "stdin", piped)
            try:
                code = run([command, "-m", str(two_layers), *arguments])
            except (KeyboardInterrupt, Signalled):
                code = 130
        return Told(code, *capsys.readouterr())

    return go


def stopping(at: int) -> FakeEngine:
    """An engine during whose n-th batch Ctrl-C is pressed."""
    engine, batches = FakeEngine(), []

    def step(name: str) -> None:
        if name == "trace":
            batches.append(name)
            if len(batches) == at:
                os.kill(os.getpid(), signal.SIGINT)

    engine.on_step = step
    return engine


def test_a_prompt_is_shown(mix: Run) -> None:
    told = mix("x = 1")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("small  the prompt: 5 tokens in 2 layers, 2 of 4 experts each\n")
    assert "First expert of each token in layer 0\n" in told.out
    assert "x = 1\n" in told.out
    assert "\x1b" not in told.out


def test_a_prompt_may_be_piped_and_is_traced_as_it_stands(mix: Run) -> None:
    engine = FakeEngine()
    assert mix("Say:", engine=engine, stdin="a\nb\n").code == 0
    assert ["".join(engine.texts(request.tokens)) for request in engine.traces] == ["Say:\n\na\nb"]
    assert not engine.generations


def test_files_are_counted_together_and_compared(mix: Run) -> None:
    engine = FakeEngine()
    told = mix("--files", "*.py", "--compare", "c.txt", engine=engine)
    assert (told.code, told.err) == (0, "")
    assert "*.py: 46 tokens in 2 layers" in told.out
    assert "\nc.txt  40 tokens in 2 layers\n" in told.out
    assert "How differently the two texts are routed" in told.out
    assert "First expert of each token" not in told.out
    assert len(engine.traces) == 3


def test_files_alone_show_their_text(mix: Run) -> None:
    told = mix("--files", "a.py", "--files", "b.py")
    assert "small  a.py, b.py: 46 tokens" in told.out
    assert "def f(x):" in told.out


def test_binary_files_are_left_out_with_a_word(mix: Run) -> None:
    told = mix("--files", "*")
    assert told.code == 0
    assert told.err == "d.bin is binary, not text; it is left out.\n"
    assert "86 tokens" in told.out
    assert mix("--files", "*", "-q").err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "There is no text to trace."),
        (("  \n ",), 2, "There is no text to trace."),
        (("--no-stdin",), 2, "There is no text to trace."),
        (("--files", "e.txt"), 2, "There is no text to trace in e.txt."),
        (("--files", "d.bin"), 2, "There is no text to trace in d.bin."),
        (("--files", "*.py", "--compare", "e.txt"), 2, "There is no text to trace in e.txt."),
        (("--compare", "*.py"), 2, "--compare needs something to hold against: --files."),
        (("hi", "--files", "*.py"), 2, "PROMPT and --files are both given."),
        (("--files", "*.none"), 10, "No file matches *.none."),
        (("--files", "*.py", "--compare", "none"), 10, "There is no file none."),
        (("--files", "."), 2, "is a folder."),
        (("hi", "--layers", "one"), 2, "--layers: 'one' names no layers."),
        (("hi", "--layers", "0,"), 2, "--layers: '0,' names no layers."),
        (("hi", "--layers", "1,9"), 2, "--layers: small has no router in layer 9."),
        (("hi", "--ram", "1MiB"), 3, "to trace its experts); 1.0 MiB are available (512.0 MiB stay free)."),
        (("hi", "--html", "none/a.html"), 12, "There is no folder"),
        (("hi", "--svg", "."), 12, ". is a folder."),
        (("hi", "--html", "full.html"), 12, "full.html could not be written"),
        (("hi", "--svg", "full.svg"), 12, "full.svg could not be written"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], code: int, words: str, mix: Run) -> None:
    told = mix(*arguments)
    assert told.code == code, told
    assert words in told.err
    assert len(told.err.splitlines()) <= 3
    assert bool(told.out) == ("full" in words), "what was traced is not lost with a file"


def test_a_dense_model_has_no_experts(mix: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixchat.app.source.describe", lambda _header: dense())
    told = mix("hi")
    assert (told.code, told.out) == (2, "")
    assert "small is a dense model: it has no experts." in told.err


def test_a_dying_engine(mix: Run) -> None:
    engine = FakeEngine()
    engine.dies_at = "trace"
    told = mix("hi", engine=engine)
    assert (told.code, told.out) == (6, "")
    assert "killed by SIGSEGV at trace" in told.err


def test_layers_are_chosen(mix: Run) -> None:
    assert "layer 0\n" in mix("hi").out
    only = mix("hi", "--layers", "1").out
    assert "layer 1\n" in only
    assert "layer 0\n" not in only
    assert mix("hi", "--layers", "all").out.count("\n0 ") > only.count("\n0 ")


def test_json_tells_everything(mix: Run) -> None:
    told = mix("x = 1", "--json")
    facts = told.facts
    assert told.out.count("\n") == 1
    assert set(facts) == {
        *("model", "name", "complete", "experts", "experts_used", "tokens", "layers", "placement", "text", "choices")
    }
    assert (facts["model"], facts["tokens"], facts["complete"]) == ("small", 5, True)
    assert facts["text"] == list("x = 1")
    first, second = facts["choices"]  # type: ignore[misc]
    assert (first["layer"], second["layer"]) == (0, 1)  # type: ignore[has-type]
    assert first["experts"][0] == [ord("x") % 4, (ord("x") + 1) % 4]  # type: ignore[has-type]
    assert first["weights"] == [[0.75, 0.25]] * 5  # type: ignore[has-type]
    (layer, _) = facts["layers"]  # type: ignore[misc]
    assert set(layer) == {"layer", "experts_used", "shares", "repeats", "classes", "traffic"}  # type: ignore[has-type]
    assert layer["repeats"]["pairs"] == 4  # type: ignore[has-type]
    assert sum(layer["shares"]["assignments"]) == pytest.approx(1, abs=1e-5)  # type: ignore[has-type]
    placement = facts["placement"]
    assert isinstance(placement, dict)
    assert placement["sentence"].startswith("5 tokens are too few")


def test_json_of_a_comparison_has_both_texts_and_no_tokens(mix: Run) -> None:
    facts = mix("--files", "*.py", "--compare", "c.txt", "--json").facts
    assert not {"text", "choices"} & facts.keys()
    assert facts["name"] == "*.py"
    other, comparison = facts["compared_with"], facts["comparison"]
    assert isinstance(other, dict)
    assert isinstance(comparison, dict)
    assert (other["name"], other["tokens"]) == ("c.txt", 40)
    assert [each["layer"] for each in comparison["layers"]] == [0, 1]
    assert set(comparison) == {"judged", "beyond", "false_alarms", "layers"}
    assert comparison["judged"] == 0


def test_errors_are_json_too(mix: Run) -> None:
    told = mix("--files", "*.none", "--json")
    assert json.loads(told.err)["error"]["code"] == 10


def test_a_page_and_a_picture_are_written(mix: Run, tmp_path: Path) -> None:
    told = mix("x = 1", "--html", "a.html", "--svg", "a.svg", "--json")
    assert (told.code, told.facts["tokens"]) == (0, 5)
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    assert (tmp_path / "a.svg").stat().st_mode & 0o777 == 0o600


def test_ctrl_c_gives_what_there_is(mix: Run) -> None:
    told = mix("--files", "*.py", "--files", "c.txt", engine=stopping(3))
    assert told.code == 130
    assert "*.py, c.txt: 8 tokens in 2 layers" in told.out
    interrupted = mix("hello you", "--json", engine=stopping(2))
    assert (interrupted.code, interrupted.facts["complete"], interrupted.facts["tokens"]) == (130, False, 4)


def test_ctrl_c_before_anything_was_traced(mix: Run) -> None:
    assert mix("hello", engine=stopping(1)) == Told(130, "", "")


def test_ctrl_c_while_the_model_is_loaded(mix: Run) -> None:
    engine = FakeEngine()
    engine.on_step = lambda name: os.kill(os.getpid(), signal.SIGINT) if name == "load" else None
    assert mix("hello", engine=engine) == Told(130, "", "")


@pytest.mark.parametrize("batches", [7, 8])
def test_ctrl_c_at_the_second_text_shows_both(batches: int, mix: Run) -> None:
    told = mix("--files", "a.py", "--compare", "c.txt", engine=stopping(batches + 1))
    assert told.code == 130
    assert "a.py: 27 tokens in 2 layers" in told.out
    assert f"c.txt  {4 * (batches - 7)} tokens in {2 * (batches > 7)} layers" in told.out


def test_ctrl_c_between_two_files(mix: Run) -> None:
    engine = FakeEngine()
    engine.on_step = lambda name: os.kill(os.getpid(), signal.SIGINT) if name == "tokenize" and engine.traces else None
    told = mix("--files", "*.py", engine=engine)
    assert told.code == 130
    assert "*.py: 27 tokens in 2 layers" in told.out
    assert told.err == "mixchat: interrupted; this is what was traced until then.\n"
    assert len(engine.traces) == 1


@pytest.mark.parametrize(("name", "start"), [("t.json", "{"), ("t.html", "<!doctype html>"), ("t.SVG", "<svg")])
def test_an_answer_leaves_a_trace(name: str, start: str, mix: Run, tmp_path: Path) -> None:
    plain = mix("Hello", command="ask")
    told = mix("Hello", "--trace-experts", name, command="ask")
    assert (told.code, told.out) == (0, plain.out) == (0, "An answer.\n")
    written = (tmp_path / name).read_text()
    assert written.startswith(start)
    if name == "t.json":
        facts = json.loads(written)
        assert "".join(facts["text"]).endswith("assistant\nAn answer.")
        assert facts["tokens"] == len(facts["text"])


def test_an_answer_as_json_leaves_a_trace_too(mix: Run, tmp_path: Path) -> None:
    told = mix("Hello", "--trace-experts", "t.json", "--format", "json", command="ask")
    assert told.facts["text"] == "An answer."
    assert (tmp_path / "t.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("hi", "--trace-experts", "t.txt"), 2, "t.txt has no known form."),
        (("hi", "--trace-experts", "t.json", "-x"), 2, "--trace-experts and --extract"),
        (("hi", "--trace-experts", "t.json", "-i"), 2, "--trace-experts and --interactive"),
        (("hi", "--trace-experts", "t.json", "--dry-run"), 2, "--trace-experts and --dry-run"),
        (("hi", "--trace-experts", "t.json", "--each-line"), 2, "--trace-experts and --each-line"),
        (("hi", "--trace-experts", "t.json", "--each-file", "*.py"), 2, "--trace-experts and --each-file"),
        (("hi", "--trace-experts", "none/t.json"), 12, "There is no folder"),
        (("hi", "--trace-experts", "full.json"), 12, "full.json could not be written"),
    ],
)
def test_mistakes_of_a_traced_answer(arguments: tuple[str, ...], code: int, words: str, mix: Run) -> None:
    told = mix(*arguments, command="ask")
    assert told.code == code, told
    assert words in told.err
    assert told.out == ("An answer.\n" if "full" in words else "")


def test_ctrl_c_during_an_answer_s_trace(mix: Run, tmp_path: Path) -> None:
    engine = stopping(1)
    engine._replies = iter(["An answer."])
    told = mix("Hello", "--trace-experts", "t.json", command="ask", engine=engine)
    assert (told.code, told.out) == (130, "An answer.\n")
    assert not (tmp_path / "t.json").exists()


def test_the_real_command(mixchat: Command, tmp_path: Path) -> None:
    text = "def add(a, b):\n    return a + b  # naïve 日本語\n"
    (tmp_path / "a.py").write_text(text, encoding="utf-8")
    told = mixchat.run("experts", "-m", "demo", "--files", tmp_path / "a.py", "--html", tmp_path / "a.html", "--json")
    assert (told.code, told.errors) == (0, [])
    facts = json.loads(told.text)
    assert (facts["experts"], facts["experts_used"], len(facts["layers"])) == (8, 2, 30)
    assert facts["tokens"] > 15
    answer = mixchat.run("ask", "-m", "demo", "Hi", "--max-tokens", "4", "--trace-experts", tmp_path / "t.json")
    assert answer.code == 0, answer.stderr
    traced = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert "".join(traced["text"]).startswith("Hi<|im_end|>")
    assert "".join(traced["text"]).endswith(answer.text.strip())


def test_ctrl_c_in_the_middle_of_a_real_corpus(mixchat: Command, tmp_path: Path) -> None:
    words = " ".join(f"word{index}" for index in range(8000))
    (tmp_path / "long.txt").write_text(words)
    with mixchat.start("experts", "-m", "demo", "--files", str(tmp_path / "long.txt"), "--json") as running:
        wait_for_busy(running.worker(), 8.0)
        running.process.send_signal(signal.SIGINT)
        told = running.finish()
    assert told.code == -signal.SIGINT, told.stderr
    facts = json.loads(told.text)
    assert facts["complete"] is False
    assert 0 < facts["tokens"] < 20_000
