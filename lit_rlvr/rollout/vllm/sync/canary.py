"""The canary: a fixed prompt that an engine continues after each update, to show caches that outlived the weights."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from lit_rlvr.rollout.vllm.sync.error import WeightSyncError
from lit_rlvr.types import RolloutPolicy

Sample = Callable[[list[int], int], tuple[Sequence[int], Sequence[float], int]]
"""`sample(prompt_ids, max_tokens) -> (token_ids, logprobs, num_cached_tokens)`, at temperature 1, without top-p and top-k, by a fixed
seed."""


@dataclass(frozen=True)
class CanaryReport:
    """How far the engine's log-probs of the sampled tokens are from the policy's, in nats."""

    mean_gap: float
    """Mean of the absolute differences."""
    max_gap: float
    """The largest of them."""


class Canary:
    """Samples a few tokens after a fixed pseudo-random prompt of two KV blocks and one token.

    A prompt this long is taken from the prefix cache if that was not reset, and only prompts with full blocks are: short ones never
    show it. Where the engine's context is shorter than that, so are its prompts.

    Args:
        max_model_len: the engine's longest sequence, in tokens.
        vocab_size: tokens of the model.
        engine_dtype: the type the engine computes in.
        block_size: tokens of one block of the engine's KV cache, or more: 128 on CPUs, 16 on most GPUs.
        every: compare log-probs with the policy's in every n-th update; 0 compares in the first only.
    """

    max_tokens = 16
    """Tokens that are sampled when log-probs are compared; otherwise one is enough."""

    def __init__(
        self, max_model_len: int, vocab_size: int, engine_dtype: torch.dtype, block_size: int = 128, every: int = 0
    ) -> None:
        if max_model_len <= self.max_tokens:
            raise ValueError(
                f"max_model_len={max_model_len} leaves no room for a prompt and {self.max_tokens} tokens: raise it"
            )
        if block_size < 1 or every < 0:
            raise ValueError(f"block_size must be positive and every 0 or more, got {block_size} and {every}")
        length = min(2 * block_size + 1, max_model_len - self.max_tokens)
        generator = random.Random(0)
        self.prompt = [generator.randrange(vocab_size) for _ in range(length)]
        self.engine_dtype = engine_dtype
        self.every = every
        self._updates = 0

    def check(self, sample: Sample, policy: RolloutPolicy) -> CanaryReport | None:
        """Sample with the weights just sent; call it once after each update, on every rank (`token_logprobs` may be collective).

        Returns:
            the gap of the log-probs, when this update's were compared with the policy's.

        Raises:
            WeightSyncError: part of the prompt came from the cache, or log-probs differ by more than rounding explains (1e-3 in
                float32; a mean of 0.2 or a single 1.0 where engine or policy compute in half precision).
        """
        compares = self._updates == 0 or (self.every > 0 and self._updates % self.every == 0)
        tokens, logprobs, cached = sample(list(self.prompt), self.max_tokens if compares else 1)
        self._updates += 1
        # The comparison may be collective, so it comes before anything that only this rank may raise.
        report = self._gap(policy, tokens, logprobs) if compares else None
        if cached > 0:
            raise WeightSyncError(
                f"prefix cache: {cached} of the canary's {len(self.prompt)} prompt tokens were taken from the engine's cache after an "
                "update, so they were computed by older weights. Reset the prefix cache after each update (reset_prefix_cache)"
            )
        if report is not None:
            self._judge(report, policy)
        return report

    def _gap(self, policy: RolloutPolicy, tokens: Sequence[int], logprobs: Sequence[float]) -> CanaryReport:
        ours = policy.token_logprobs([self.prompt], [list(tokens)], 1.0)[0]
        gaps = (torch.tensor(ours, dtype=torch.float64) - torch.tensor(list(logprobs), dtype=torch.float64)).abs()
        return CanaryReport(float(gaps.mean()), float(gaps.max()))

    def _judge(self, report: CanaryReport, policy: RolloutPolicy) -> None:
        is_half = min(self.engine_dtype.itemsize, policy.compute_dtype.itemsize) < 4
        mean, most = (0.2, 1.0) if is_half else (1e-3, 1e-3)
        if report.mean_gap <= mean and report.max_gap <= most:
            return
        raise WeightSyncError(
            f"log-probs: the engine's and the policy's of the sampled tokens differ by {report.mean_gap:.2g} on average "
            f"and {report.max_gap:.2g} at most (allowed: {mean:g} and {most:g}), though the weights agree. The engine computes "
            "something else with them: look at its dtype, rotary embedding, attention or sliding window, and at the "
            "temperature and log-prob mode that it samples with (logprobs_mode='processed_logprobs', temperature 1)"
        )
