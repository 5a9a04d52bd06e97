"""llama.cpp's chain of samplers.

Knows the order in which llama.cpp's own tools apply them; refuses to know what the tokens mean.
"""

from collections.abc import Sequence
from typing import Final

from mixchat.engine.events import Sampling
from mixchat.engine.worker.bindings import llama

_PENALTY_WINDOW: Final = 64
_RANDOM_SEED: Final = 0xFFFFFFFF


class Sampler:
    """Chooses the next token from a context's logits, in C."""

    def __init__(self, sampling: Sampling, vocabulary_size: int, prompt: Sequence[int]) -> None:
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        if sampling.repeat_penalty != 1.0:
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
        """The next token after the batch's token `index`; it is remembered for the repeat penalty."""
        token: int = llama.llama_sampler_sample(self._chain, context, index)
        return token

    def free(self) -> None:
        """Give back its memory."""
        llama.llama_sampler_free(self._chain)
