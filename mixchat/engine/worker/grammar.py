"""llama.cpp's grammar sampler, asked about as few tokens as possible.

Knows which tokens may come next; refuses to know what the text means and how likely the tokens are.

A grammar that is run over a whole vocabulary takes as long as evaluating a token of a small model. So (1) the sampled
token is tested alone, and only when it is refused (2) the tokens of one byte are tested, (3) then those tokens that
begin with an allowed byte, or, where that is nearly all of them, the likeliest: what is chosen from is the same as of
the whole vocabulary, found in a fraction of the time.
"""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mixchat.engine.worker.bindings import llama
from mixchat.engine.worker.candidates import Candidates
from mixchat.engine.worker.vocabulary import Vocabulary
from mixchat.errors import UsageError

SECONDS: Final = 2.0
"""Processor time that a grammar may take for one token; a usual one takes a thousandth of it."""
_LIKELIEST: Final = 1024
_MOST_BYTES: Final = 2**20
_MOST_NESTED: Final = 500
_HINT: Final = "Correct the grammar; its form is GBNF: https://github.com/ggml-org/llama.cpp/tree/master/grammars"
# What a grammar's text may hold around its rules: literals, sets of characters, comments.
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|#[^\n]*', re.DOTALL)
# llama-grammar.cpp: the parser's own words on stderr, then those of the log.
_PARSER: Final = re.compile(r"error parsing grammar: (.*?)\n\n", re.DOTALL)
_LOG: Final = re.compile(r"unsupported grammar, (left recursion)|grammar does not (contain a '.*?' symbol)")


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A vocabulary as grammars see it.

    Attributes:
        silent: Tokens without text of their own, or with a NUL in it; no grammar can describe them.
        ends: Tokens that end an answer.
        first: The ids of all others, by their first byte.
        probes: A token of one byte for each byte, or all that begin with it where there is none; with that byte.
    """

    silent: frozenset[int]
    ends: tuple[int, ...]
    first: tuple[tuple[int, ...], ...]
    probes: dict[int, int]


@lru_cache(maxsize=1)
def _tokens_of(vocabulary: Vocabulary) -> _Tokens:
    ends = tuple(token for token in range(vocabulary.size) if vocabulary.is_end(token))
    pieces = {token: vocabulary.piece(token) for token in range(vocabulary.size)}
    silent = frozenset(token for token, piece in pieces.items() if not piece or 0 in piece).difference(ends)
    first: list[list[int]] = [[] for _ in range(256)]
    single: dict[int, int] = {}
    for token in pieces.keys() - silent - set(ends):
        first[pieces[token][0]].append(token)
        if len(pieces[token]) == 1:
            single[pieces[token][0]] = token
    probes = {token: byte for byte, token in single.items()}
    probes |= {token: byte for byte, tokens in enumerate(first) if byte not in single for token in tokens}
    return _Tokens(silent, ends, tuple(map(tuple, first)), probes)


class Grammar:
    """What an answer obeys, and how far it has come.

    Args:
        text: GBNF with the rule `root`.
        vocabulary: Of the loaded model.
        shown: Control tokens that have a text in this answer.

    Raises:
        UsageError: llama.cpp cannot compile it.
    """

    def __init__(self, text: str, vocabulary: Vocabulary, shown: frozenset[int] = frozenset()) -> None:
        self._sampler = _compiled(text, vocabulary)
        self._size = vocabulary.size
        self._shown = shown
        self._tokens = _tokens_of(vocabulary)
        self._silent = self._tokens.silent - shown
        self._likeliest = llama.llama_sampler_init_top_k(_LIKELIEST)
        self._some = Candidates(max(1, len(self._tokens.probes)))
        self._by_byte = not re.search("[<!]", _QUOTED.sub("", text))

    def allows(self, token: int) -> bool:
        """Whether a token may come next."""
        if token in self._silent:
            return False
        self._some.pick((token,))
        self._some.apply(self._sampler)
        return bool(self._some.possible)

    def narrow(self, candidates: Candidates, logits: "memoryview[float]", enough: int | None) -> None:
        """Fill the candidates with the tokens that may come next, where others are impossible.

        Args:
            candidates: To be filled.
            logits: Of the whole vocabulary.
            enough: So many of the likeliest are all that counts; None: all count.

        Raises:
            UsageError: There is none in this vocabulary.
        """
        ids = self._likely() if self._by_byte else None
        if ids is not None and len(ids) <= self._size // 4:
            candidates.pick(ids, logits)
            candidates.apply(self._sampler)
        elif enough is None or not self._enough(candidates, logits, enough):
            candidates.fill(logits)
            candidates.forbid(self._silent)
            candidates.apply(self._sampler)
        if not candidates.any_possible:
            message = "The grammar comes to a point where no token of this model continues it."
            raise UsageError(message, "Change the grammar there, or use another model.")

    def _enough(self, candidates: Candidates, logits: "memoryview[float]", enough: int) -> bool:
        """Whether so many of the likeliest tokens may come next; they are the candidates then."""
        candidates.fill(logits)
        candidates.forbid(self._silent)
        candidates.apply(self._likeliest)
        candidates.unsort()
        candidates.apply(self._sampler)
        return len(candidates.possible) >= enough

    def _likely(self) -> list[int]:
        """The tokens that begin with a byte that may come next, and those that end an answer."""
        found = {self._tokens.probes[token] for token in self._probe()}
        first = (token for byte in sorted(found) for token in self._tokens.first[byte])
        return [*first, *self._tokens.ends, *self._shown]

    def _probe(self) -> list[int]:
        self._some.pick(tuple(self._tokens.probes))
        self._some.apply(self._sampler)
        return self._some.possible

    def accept(self, token: int) -> None:
        """Take an allowed token."""
        llama.llama_sampler_accept(self._sampler, token)

    def at_end(self) -> bool:
        """Whether nothing may come next but the end."""
        if not self._by_byte or (self._tokens.ends and not self.allows(self._tokens.ends[0])):
            return False
        return not self._probe() and not any(self.allows(token) for token in self._shown)

    def free(self) -> None:
        """Give back its memory."""
        llama.llama_sampler_free(self._sampler)
        llama.llama_sampler_free(self._likeliest)


@contextmanager
def in_time() -> Iterator[None]:
    """At most SECONDS of processor time: C++ at work cannot be interrupted, so the worker dies by SIGVTALRM."""
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def check_grammar(text: str, vocabulary: Vocabulary) -> None:
    """Compile a grammar and forget it.

    Raises:
        UsageError: llama.cpp cannot.
    """
    llama.llama_sampler_free(_compiled(text, vocabulary))


def _compiled(text: str, vocabulary: Vocabulary) -> Any:  # noqa: ANN401 - a C pointer
    raw = _checked(text)
    before = _log_size()
    with in_time():
        sampler = llama.llama_sampler_init_grammar(vocabulary.pointer, raw, b"root")
    if sampler:
        return sampler
    reason = _reason(_log_since(before), text)
    raise UsageError(f"llama.cpp cannot compile the grammar: {reason}.", _HINT)


def _checked(text: str) -> bytes:
    """What would make llama.cpp overrun its stack, or see half of it."""
    raw = text.encode("utf-8", "replace")
    depth = most = 0
    for sign in re.findall("[()]", _QUOTED.sub("", text)):
        depth += 1 if sign == "(" else -1
        most = max(most, depth)
    wrong = {
        "it has no rules": not text.strip(),
        "it holds a NUL character": 0 in raw,
        f"it has {len(raw)} bytes, and {_MOST_BYTES} are the most": len(raw) > _MOST_BYTES,
        f"its parentheses are nested {most} deep, and {_MOST_NESTED} is the most": most > _MOST_NESTED,
    }
    for reason, is_so in wrong.items():
        if is_so:
            raise UsageError(f"The grammar cannot be compiled: {reason}.", _HINT)
    return raw


def _log_size() -> int:
    return os.fstat(2).st_size


def _log_since(start: int) -> str:
    """What was written to descriptor 2, the log; nothing where it is no file."""
    try:
        return os.pread(2, _log_size() - start, start).decode("utf-8", "replace")
    except OSError:
        return ""


def _reason(log: str, text: str) -> str:
    """llama.cpp's words; where they end with the rest of the grammar, its line instead."""
    if found := _PARSER.search(log.replace(text, "", 1) if log.endswith(text) else log):
        words, _at, rest = found[1].partition(" at ")
        line = text[: len(text) - len(rest)].count("\n") + 1
        where = f" in line {line}" if rest and text.endswith(rest) else ""
        return f"{words.strip()}{where}"
    found = _LOG.search(log)
    return (found[1] or f"it does not {found[2]}") if found else "its log (--debug) may say why"
