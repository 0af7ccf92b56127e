"""A canary for each server: what it sings after an update, heard by all ranks alike."""

import torch

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.server.generation import GenerateRequest
from lit_rlvr.rollout.vllm.server.http import ServerFailed
from lit_rlvr.rollout.vllm.server.pool import Server, ServerPool
from lit_rlvr.rollout.vllm.sync.canary import Canary
from lit_rlvr.types import RolloutPolicy

Song = tuple[tuple[int, ...], tuple[float, ...], int]
"""Tokens, their log-probs, and the prompt's tokens that came from the cache."""


class ServerCanaries:
    """Samples a few tokens from every server after each update, and checks them.

    Args:
        max_model_len: most tokens of a prompt and its completion.
        vocab_size: tokens of the model.
        dtype: what the servers compute in.
        every: log-probs are compared in every n-th update of a server; 0: in its first.
    """

    def __init__(self, max_model_len: int, vocab_size: int, dtype: torch.dtype, every: int) -> None:
        self._settings = max_model_len, vocab_size, dtype, every
        self._canaries: dict[str, Canary] = {}

    def songs(self, pool: ServerPool) -> dict[str, Song]:
        """Return what each fit server samples, by its address. One that fails is left to its caretaker."""
        songs: dict[str, Song] = {}
        for server in pool.servers:
            if server.is_ready:
                try:
                    songs[server.url] = self._sing(server, pool)
                except ServerFailed as error:
                    pool.suspect(server, f"failed: {error}")
        return songs

    def check(self, songs: dict[str, Song], policy: RolloutPolicy) -> None:
        """Compare with the policy, which may have to be asked collectively: every rank calls this, with the same songs.

        Raises:
            WeightSyncError: a server uses something computed with older weights, or computes something else than the policy.
        """
        for url, song in songs.items():

            def sample(prompt: list[int], max_tokens: int, song: Song = song) -> Song:
                return song

            self._canary(url).check(sample, policy)

    def _sing(self, server: Server, pool: ServerPool) -> Song:
        canary = self._canary(server.url)
        params = SamplingParams(canary.max_tokens)
        request = GenerateRequest(tuple(canary.prompt), params, 0, (), f"the canary of {server.url}", is_urgent=True)
        generated = server.client.generate(request)
        pool.check_labels(generated, pool.update)
        return generated.token_ids, generated.logprobs, generated.num_cached_tokens

    def _canary(self, url: str) -> Canary:
        if url not in self._canaries:
            max_model_len, vocab_size, dtype, every = self._settings
            self._canaries[url] = Canary(max_model_len, vocab_size, dtype, every=every)
        return self._canaries[url]
