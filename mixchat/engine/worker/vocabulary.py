"""Text to tokens and back.

Knows llama.cpp's tokenizer and its traps; refuses to know what a prompt looks like.
"""

import codecs
import ctypes
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

from mixchat.chat.messages import Control, Text
from mixchat.engine.worker.bindings import llama

_SPM: Final = 1
_PIECE_BYTES: Final = 256


class Vocabulary:
    """A loaded model's tokenizer."""

    def __init__(self, handle: Any, vocab: Any) -> None:  # noqa: ANN401
        self._vocab = self.pointer = vocab
        self._buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        self.size: int = llama.llama_vocab_n_tokens(vocab)
        self._spm = llama.llama_vocab_type(vocab) == _SPM
        self._lead = " " if self._needs_lead(handle) else ""

    def _needs_lead(self, handle: Any) -> bool:  # noqa: ANN401
        """Whether llama.cpp leaves out the space that SentencePiece puts in front of every text.

        The GGUF key `tokenizer.ggml.add_space_prefix`: true or absent means llama.cpp adds it.
        """
        if not self._spm:
            return False
        value = ctypes.create_string_buffer(8)
        found = llama.llama_model_meta_val_str(handle, b"tokenizer.ggml.add_space_prefix", value, len(value))
        return found >= 0 and value.value == b"false"

    def tokens(self, pieces: Sequence[Control | Text], *, prompt: bool) -> tuple[tuple[int, ...], ...]:
        """Tokenize each piece on its own.

        Args:
            pieces: Only `Control` can become control tokens.
            prompt: Put BOS in front of the first piece if the vocabulary asks for one and it is not there.

        Returns:
            Ids, one tuple for each piece.
        """
        ids: list[tuple[int, ...]] = []
        for before, piece in pairwise((None, *pieces)):
            inside = isinstance(before, Control) and self._goes_on(ids[-1])
            ids.append(self._piece(piece, inside=inside))  # type: ignore[arg-type]  # only the first is None
        if prompt and ids and llama.llama_vocab_get_add_bos(self._vocab):
            bos = llama.llama_vocab_bos(self._vocab)
            if not ids[0] or ids[0][0] != bos:
                ids[0] = (bos, *ids[0])
        return tuple(ids)

    def _piece(self, piece: Control | Text, *, inside: bool) -> tuple[int, ...]:
        if isinstance(piece, Control):
            return self._tokenize(piece.name, special=True)
        if not piece.text:
            return ()
        if inside:
            return self._without_lead(piece.text)
        return self._tokenize(self._lead + piece.text, special=False)

    def _goes_on(self, before: tuple[int, ...]) -> bool:
        """Whether a text continues a template's plain text, so that SentencePiece puts no space in front of it."""
        return self._spm and bool(before) and not llama.llama_vocab_is_control(self._vocab, before[-1])

    def _without_lead(self, text: str) -> tuple[int, ...]:
        """Tokens of a text in the middle of a line: tokenized behind a line end, which joins with nothing."""
        end = self._tokenize("\n", special=False)
        ids = self._tokenize("\n" + text, special=False)
        return ids[len(end) :] if ids[: len(end)] == end else self._tokenize(text, special=False)

    def _tokenize(self, text: str, *, special: bool) -> tuple[int, ...]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        ids = (llama.llama_token * room)()
        count = llama.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, special)  # noqa: FBT003 - a C call
        return tuple(ids[:count])

    def is_end(self, token: int) -> bool:
        """Whether a token ends the answer."""
        return bool(llama.llama_vocab_is_eog(self._vocab, token))

    def controls(self, texts: Iterable[str]) -> frozenset[int]:
        """The control tokens of these texts; a text that is none is left out."""
        found = (self._tokenize(text, special=True) for text in texts)
        return frozenset(ids[0] for ids in found if len(ids) == 1 and llama.llama_vocab_is_control(self._vocab, ids[0]))

    def texts(self, tokens: Iterable[int]) -> tuple[str, ...]:
        """The text of each of consecutive tokens; a character of several tokens is the last one's."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        texts = [decoder.decode(self.piece(token, special=True)) for token in tokens]
        if rest := decoder.decode(b"", final=True):
            texts[-1] += rest
        return tuple(texts)

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """A token's bytes; control tokens have none unless `special`. May end in the middle of a character."""
        count = llama.llama_token_to_piece(self._vocab, token, self._buffer, len(self._buffer), 0, special)
        if count < 0:
            self._buffer = ctypes.create_string_buffer(-count)
            count = llama.llama_token_to_piece(self._vocab, token, self._buffer, -count, 0, special)
        return self._buffer.raw[: max(count, 0)]
