"""`mixchat ask --each-line` and `--each-file`: many answers, one load.

Knows in what form and order they leave, and which of them a run before has left already; refuses to know how they come
about.
"""

import hashlib
import json
import os
import sys
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final, Protocol

from mixchat.app.asking import Question
from mixchat.app.batching import Answered, Failed, Item, Take, ask_each
from mixchat.app.events import Opened
from mixchat.app.extracting import block_of
from mixchat.app.house import House
from mixchat.cli.ask_options import AskOptions
from mixchat.cli.ask_output import check_length, has_begun
from mixchat.cli.facts import Facts, answer_facts, error_facts, item_facts, json_text
from mixchat.cli.stopping import stoppable
from mixchat.errors import MixchatError, SomeFailed, UsageError
from mixchat.store.results import Results, open_results
from mixchat.store.settings import Settings
from mixchat.ui.console import write_line
from mixchat.ui.output import put, write_text
from mixchat.ui.progress import shown
from mixchat.ui.sanitize import single_line
from mixchat.ui.stats import cut_line, stats_line

_TITLE: Final = 60
_MARK: Final = 16
"""Letters of a question's mark."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch and what it is answered with.

    Attributes:
        house: The outside.
        settings: How to load and sample.
        question: What all items have in common.
        asked: In what form the answers leave.
        quiet: No progress and no notices.
    """

    house: House
    settings: Settings
    question: Question
    asked: AskOptions
    quiet: bool


class Output(Protocol):
    """Where the answers go."""

    def expect(self, item: Item) -> None:
        """This item is being answered, behind those before."""

    def take(self, result: Answered | Failed, opened: Opened | None) -> None:
        """Take an item's end; an answer comes with the model that gave it."""


def answer_batch(batch: Batch, take: Take) -> None:
    """Answer every item, and go on after one that fails.

    Raises:
        SomeFailed: At the end, when one did.
        UsageError: The file of results is of other items.
        MixchatError: Nothing can be answered any more.
    """
    path = batch.asked.resume_output
    with open_results(path) if path else nullcontext() as results:
        if results is None:
            output: Output = _Lines() if batch.asked.format == "ndjson" else _Texts()
            count, failed = _answer(batch, _announced(take, output), output)
        else:
            _tell(batch, *results.notices)
            skipping = _Skipping(take, results, batch)
            count, failed = _answer(batch, skipping, _File(results, batch))
            if skipping.count:
                _tell(batch, f"{skipping.count} items have their answer in {path} already.")
    if failed:
        raise SomeFailed(f"{failed} of {count} items failed.", "What is said of each of them is the reason.")


def _answer(batch: Batch, take: Take, output: Output) -> tuple[int, int]:
    """Answer all; how many items there were, and how many of them failed."""
    house, asked = batch.house, batch.asked
    count, failed = 0, 0
    opened: Opened | None = None
    with stoppable(house.engine.interrupt, has_begun) as stop:
        events = stop.watched(ask_each(house, batch.settings, batch.question, take))
        for event in shown(events, batch.question.model, sys.stderr, os.environ, batch.quiet):
            if isinstance(event, Opened):
                opened = event
            elif isinstance(event, Answered | Failed):
                result = _judged(event, opened, asked)
                output.take(result, opened)
                _write_beside(result, opened, batch)
                count, failed = count + 1, failed + isinstance(result, Failed)
    return count, failed


def _judged(event: Answered | Failed, opened: Opened | None, asked: AskOptions) -> Answered | Failed:
    """The same, or a failure where it is not what was asked for."""
    if isinstance(event, Failed) or opened is None:
        return event
    try:
        if asked.must_end:
            check_length(opened, event.finished, asked)
        return replace(event, text=block_of(event.text, event.finished)) if asked.extract else event
    except MixchatError as error:
        return Failed(event.item, error)


def _write_beside(result: Answered | Failed, opened: Opened | None, batch: Batch) -> None:
    asked, quiet = batch.asked, batch.quiet
    if isinstance(result, Failed) or opened is None:
        return
    if asked.show_thinking and result.thinking:
        write_text(sys.stderr, f"{_title(result.item)}: {result.thinking}\n\n")
    cut = cut_line(result.finished, opened.loaded) if asked.format == "text" and not quiet else ""
    for line in (cut, stats_line(result.finished, opened) if asked.stats else ""):
        if line:
            write_line(sys.stderr, f"{_title(result.item)}: {line}")


def _announced(take: Take, output: Output) -> Take:
    def announced(*, wait: bool) -> Item | None:
        item = take(wait=wait)
        if item is not None:
            output.expect(item)
        return item

    return announced


class _Skipping:
    """The items that have no answer in a file of results yet; `count` had one."""

    def __init__(self, take: Take, results: Results, batch: Batch) -> None:
        self.count = 0
        self._take = take
        self._done = results.done
        self._batch = batch

    def __call__(self, *, wait: bool) -> Item | None:
        while (item := self._take(wait=wait)) is not None and item.index in self._done:
            self._check(item)
            self.count += 1
        return item

    def _check(self, item: Item) -> None:
        """Refuse an answer to something else."""
        done, mark = self._done[item.index], request_mark(item, self._batch)
        other = "that was another input" if done.input != item.input else ""
        if not other and mark and done.request not in {"", mark}:
            other = "to another question: prompt, model, text of a file or form of the answer differ"
        if other:
            raise UsageError(
                f"{self._batch.asked.resume_output} has an answer for item {item.index + 1}, but {other}.",
                "Resume with what was asked before, or name a new file.",
            )


def request_mark(item: Item, batch: Batch) -> str:
    """What tells a question from others, whatever it is sampled with; empty for one that cannot be asked."""
    if isinstance(item.messages, MixchatError):
        return ""
    said = [[message.role, message.text] for message in item.messages]
    asked = (batch.question.model, said, batch.question.grammar, batch.asked.extract)
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:_MARK]


def _facts(result: Answered | Failed, opened: Opened | None) -> Facts:
    """An item's end as a line of JSON has it."""
    if isinstance(result, Failed) or opened is None:
        error = result.error if isinstance(result, Failed) else None
        return {"event": "error", **item_facts(result.item), **(error_facts(error) if error else {})}
    answer = answer_facts(opened.name, result.text, opened.loaded.load_ms, result.finished)
    return {"event": "done", **item_facts(result.item), **answer}


class _Lines:
    """JSON lines on stdout, in the order in which the answers end."""

    def expect(self, item: Item) -> None:
        pass

    def take(self, result: Answered | Failed, opened: Opened | None) -> None:
        put(sys.stdout, json_text(_facts(result, opened)))


class _File:
    """JSON lines in a file."""

    def __init__(self, results: Results, batch: Batch) -> None:
        self._results = results
        self._batch = batch

    def expect(self, item: Item) -> None:
        pass

    def take(self, result: Answered | Failed, opened: Opened | None) -> None:
        self._results.append({**_facts(result, opened), "request": request_mark(result.item, self._batch)})
        if isinstance(result, Failed):
            _tell_failure(result)


class _Texts:
    """Texts on stdout, each under a line with its input, in the order of the input; failures on stderr."""

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._ended: dict[int, Answered | Failed] = {}
        self._begun = False

    def expect(self, item: Item) -> None:
        self._waiting.append(item.index)

    def take(self, result: Answered | Failed, opened: Opened | None) -> None:  # noqa: ARG002 - as Output has it
        self._ended[result.item.index] = result
        while self._waiting and self._waiting[0] in self._ended:
            self._write(self._ended.pop(self._waiting.popleft()))

    def _write(self, result: Answered | Failed) -> None:
        if isinstance(result, Failed):
            _tell_failure(result)
            return
        title = _title(result.item)
        blank = "\n" if self._begun else ""
        end = "" if not result.text or result.text.endswith("\n") else "\n"
        write_text(sys.stdout, f"{blank}==> {title} <==\n{result.text}{end}")
        self._begun = True


def _tell_failure(failed: Failed) -> None:
    write_line(sys.stderr, f"mixchat: {_title(failed.item)}: {single_line(failed.error.message)}")


def _title(item: Item) -> str:
    return single_line(item.input, _TITLE)


def _tell(batch: Batch, *notices: str) -> None:
    if not batch.quiet:
        for notice in notices:
            write_line(sys.stderr, single_line(notice))
