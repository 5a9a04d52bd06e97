"""llama.cpp's chain of samplers.

Knows the order in which llama.cpp's own tools apply them; refuses to know what the tokens mean.
"""

from collections.abc import Sequence
from typing import Final

from mixchat.engine.events import Sampling
from mixchat.engine.worker.bindings import llama
from mixchat.engine.worker.candidates import Candidates, logits_at
from mixchat.engine.worker.grammar import Grammar, in_time

_PENALTY_WINDOW: Final = 64
_RANDOM_SEED: Final = 0xFFFFFFFF


class Sampler:
    """Chooses the next token from a context's logits, in C.

    Args:
        sampling: How.
        vocabulary_size: Tokens of the vocabulary.
        prompt: What the repeat penalty looks back on at first.
        grammar: What the answer obeys; it is given back with the sampler.
    """

    def __init__(
        self, sampling: Sampling, vocabulary_size: int, prompt: Sequence[int], grammar: Grammar | None = None
    ) -> None:
        self._grammar = grammar
        self._size = vocabulary_size
        self._remembers = sampling.repeat_penalty != 1.0
        first = 1 if sampling.temperature == 0 else sampling.top_k
        # The penalty comes before top-k and would choose others.
        self._enough = first if first > 0 and not self._remembers else None
        self._candidates = Candidates(vocabulary_size) if grammar else None
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        if self._remembers:
            self._add(
                llama.llama_sampler_init_penalties(vocabulary_size, _PENALTY_WINDOW, sampling.repeat_penalty, 0.0, 0.0)
            )
            for token in prompt[-_PENALTY_WINDOW:]:
                llama.llama_sampler_accept(self._chain, token)
        if sampling.temperature == 0:
            self._add(llama.llama_sampler_init_greedy())
        else:
            self._add_random(sampling)

    def _add_random(self, sampling: Sampling) -> None:
        if sampling.top_k > 0:
            self._add(llama.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1:
            self._add(llama.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0:
            self._add(llama.llama_sampler_init_min_p(sampling.min_p, 1))
        self._add(llama.llama_sampler_init_temp(sampling.temperature))
        self._add(llama.llama_sampler_init_dist(_RANDOM_SEED if sampling.seed is None else sampling.seed))

    def _add(self, sampler: object) -> None:
        llama.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, context: object, index: int) -> int:
        """The next token after the batch's token `index`; it is remembered for the repeat penalty.

        Raises:
            UsageError: No token continues the grammar.
        """
        if self._grammar and self._candidates:
            with in_time():
                return self._sample_obeying(self._grammar, self._candidates, (context, index))
        token: int = llama.llama_sampler_sample(self._chain, context, index)
        return token

    def _sample_obeying(self, grammar: Grammar, candidates: Candidates, where: tuple[object, int]) -> int:
        """Sample as always, test that token, and sample again among the allowed ones only when it is refused."""
        token = self._try(candidates, where)
        if not grammar.allows(token):
            grammar.narrow(candidates, logits_at(*where, self._size), self._enough)
            candidates.apply(self._chain)
            token = candidates.selected
        if self._remembers:
            llama.llama_sampler_accept(self._chain, token)
        grammar.accept(token)
        return token

    def _try(self, candidates: Candidates, where: tuple[object, int]) -> int:
        """A token that the repeat penalty does not know of yet; without one, llama.cpp's own loop is quicker."""
        if not self._remembers:
            token: int = llama.llama_sampler_sample(self._chain, *where)
            return token
        candidates.fill(logits_at(*where, self._size))
        candidates.apply(self._chain)
        return candidates.selected

    def at_end(self) -> bool:
        """Whether the grammar allows nothing but the end."""
        if self._grammar is None:
            return False
        with in_time():
            return self._grammar.at_end()

    def free(self) -> None:
        """Give back its memory."""
        llama.llama_sampler_free(self._chain)
        if self._grammar is not None:
            self._grammar.free()
