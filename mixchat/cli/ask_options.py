"""The options of `mixchat ask`.

Knows flags, their help and which of them exclude each other; refuses to know what they do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from mixchat.errors import UsageError

_HELP: Final = "mixchat ask --help"


@dataclass(frozen=True, slots=True)
class AskOptions:
    """What only `ask` takes."""

    file: Annotated[
        list[str] | None,
        typer.Option(
            "--file", "-f", metavar="FILE|GLOB|-", help="Put files before the prompt; - is stdin; repeatable."
        ),
    ] = None
    messages: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='A whole conversation as JSON: [{"role", "content"}, ...]; - is stdin.'),
    ] = None
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Do not read stdin; for `while read` loops.")] = False
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="End the answer before TEXT; repeatable.")] = (
        None
    )
    format: Annotated[str, typer.Option(metavar="text|json|ndjson", help="What stdout gets.")] = "text"
    extract: Annotated[
        bool, typer.Option("--extract", "-x", help="Only the first code block of the answer, without its fences.")
    ] = False
    json_schema: Annotated[
        str | None,
        typer.Option(
            "--json-schema", metavar="FILE|TEXT", help="The answer is JSON of this schema; 9 when it is not after all."
        ),
    ] = None
    grammar: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The answer obeys this grammar (GBNF, root rule `root`).")
    ] = None
    choices: Annotated[str | None, typer.Option(metavar="A,B,C", help="The answer is one of these texts.")] = None
    fail_on_length: Annotated[
        bool, typer.Option("--fail-on-length", help="Return 8 when the answer is cut at its most tokens.")
    ] = False
    overflow: Annotated[
        str,
        typer.Option(metavar="fail|drop", help="When the context is too small: return 7, or drop the oldest turns."),
    ] = "fail"
    each_line: Annotated[
        bool, typer.Option("--each-line", help="Answer every line of stdin by itself, PROMPT before each.")
    ] = False
    each_file: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|GLOB", help="Answer for every file by itself, PROMPT behind each; repeatable."),
    ] = None
    resume_output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append a batch's answers to FILE as JSON lines; skip those in it."),
    ] = None
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Answer, then go on chatting on the terminal.")
    ] = False
    go_on: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the last ask.")] = False
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use nor keep the evaluated beginning of the prompt.")
    ] = False
    no_save: Annotated[bool, typer.Option("--no-save", help="Keep nothing of this on disk.")] = False
    show_thinking: Annotated[
        bool, typer.Option("--show-thinking", help="What a reasoning model thinks before it answers, on stderr.")
    ] = False
    trace_experts: Annotated[
        Path | None,
        typer.Option("--trace-experts", metavar="FILE", help="Write which experts were chosen: .html, .svg or .json."),
    ] = None
    stats: Annotated[bool, typer.Option("--stats", help="Times and token counts, one line on stderr.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the exact prompt; load no weights.")] = False

    @property
    def policy(self) -> Literal["fail", "drop"]:
        """What becomes of a prompt that is too long."""
        return "drop" if self.overflow == "drop" else "fail"

    @property
    def constrained(self) -> bool:
        """Whether the answer must have a form."""
        return self.json_schema is not None or self.grammar is not None or self.choices is not None

    @property
    def must_end(self) -> bool:
        """Whether an answer that is cut is an error: half of a form, or of a block, is none."""
        return self.fail_on_length or self.constrained or self.extract

    @property
    def in_batch(self) -> bool:
        """Whether there are many questions."""
        return self.each_line or bool(self.each_file)

    @property
    def files_from_stdin(self) -> bool:
        """Whether stdin is one of the files."""
        return "-" in (self.file or ())


_CONSTRAINTS: Final = ("--json-schema", "--grammar", "--choices")


def check(asked: AskOptions, prompt: str | None) -> None:
    """Refuse what makes no sense together, before anything is read.

    Raises:
        UsageError: It does not.
        OutputError: A file that is asked for cannot be written.
    """
    if asked.format not in {"text", "json", "ndjson"}:
        raise UsageError(f"--format is {asked.format!r}, not text, json or ndjson.", _HELP)
    if asked.overflow not in {"fail", "drop"}:
        raise UsageError(f"--overflow is {asked.overflow!r}, not fail or drop.", _HELP)
    if asked.resume_output is not None and not asked.in_batch:
        raise UsageError("--resume-output is for --each-line and --each-file.", "For one answer: > FILE")
    if asked.in_batch and asked.format == "json" and not asked.dry_run:
        raise UsageError("A batch gives many answers, and --format json is one.", "Use --format ndjson.")
    if asked.trace_experts is not None:
        _check_trace(asked.trace_experts)
    for one, other in _both(asked, prompt):
        raise UsageError(f"{one} and {other} are both given.", "Give one of them.")


def _check_trace(path: Path) -> None:
    from mixchat.store.output_file import check_output
    from mixchat.ui.experts_asked import has_form, no_form

    if not has_form(path):
        raise no_form(f"--trace-experts: {path}")
    check_output(path)


def _both(asked: AskOptions, prompt: str | None) -> Iterator[tuple[str, str]]:
    """Two that exclude each other."""
    batch = "--each-line" if asked.each_line else "--each-file"
    given = {
        "PROMPT": prompt is not None,
        "--messages": asked.messages is not None,
        "--continue": asked.go_on,
        "--interactive": asked.interactive,
        "--dry-run": asked.dry_run,
        "--each-line": asked.each_line,
        "--each-file": bool(asked.each_file),
        "--file -": asked.files_from_stdin,
        "--file": bool(asked.file),
        "--no-stdin": asked.no_stdin,
        "--stop": bool(asked.stop),
        "--extract": asked.extract,
        "--json-schema": asked.json_schema is not None,
        "--grammar": asked.grammar is not None,
        "--trace-experts": asked.trace_experts is not None,
        "--choices": asked.choices is not None,
        "--format": asked.format != "text",
    }
    excluded = (
        ("--messages", ("PROMPT", "--file", "--continue", "--interactive")),
        (batch, ("--messages", "--continue", "--interactive")),
        ("--each-line", ("--each-file", "--no-stdin", "--file -")),
        ("--interactive", ("--dry-run", "--stop", "--extract", "--format", *_CONSTRAINTS)),
        ("--extract", _CONSTRAINTS),
        ("--trace-experts", (batch, "--interactive", "--dry-run", "--extract")),
        ("--json-schema", ("--grammar", "--choices")),
        ("--grammar", ("--choices",)),
        ("--no-stdin", ("--file -",)),
    )
    for one, others in excluded:
        yield from ((one, other) for other in others if given.get(one) and given[other])
