"""Generation inside the trainer's process: by the very module that is being trained, or by a copy of it on another device."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from lit_rlvr.rollout.continuous_batch import ContinuousBatch, Job
from lit_rlvr.rollout.decoding import GenericRoute, SlabRoute, causal_lm_of, is_plain_full_attention
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout.held_weights import HeldWeights, TrainersModule
from lit_rlvr.rollout.kv_cache import SLAB_ATTENTION, install_slab_attention
from lit_rlvr.rollout.own_copy import OwnCopy
from lit_rlvr.rollout.request_check import LengthLimit, check_requests
from lit_rlvr.types import Completion, Prompt, RolloutPolicy


class EmbeddedEngine(RolloutEngine):
    """Samples from the trainer's own transformers model, on whatever device it lives, or from a copy of it.

    Each distinct prompt is prefilled once and its keys and values are shared out to its members; finished rows leave the batch
    and waiting ones take their place. Models of plain full attention (Qwen2, Qwen3, Llama, ...) run over a preallocated cache
    with an attention function of our own; all others (sliding windows, linear attention, hybrids) run over transformers' own
    cache and attention, one prompt length at a time, which is slower. Randomness is counter-based: no global generator is used.

    Args:
        max_batch_size: most completions decoded at once; the others wait for a place.
        max_prefill_tokens: most prompt tokens (padding included) of one prefill forward; a longer prompt has one to itself.
        own_attention: False takes transformers' own cache and attention for every model.
        compile_decoding: compile the decoding step with torch.compile. The first call then takes a minute or so, and needs a C++
            compiler on the CPU; small models gain most. Without effect on models that need transformers' own cache.
        device: where the engine keeps a model of its own (`cuda:1`), so that it can generate while the policy is trained. By default it
            has none and uses the trainer's. Adapters are merged into the copy; completions are the same but for rounding.
    """

    def __init__(
        self,
        max_batch_size: int = 256,
        max_prefill_tokens: int = 16384,
        own_attention: bool = True,
        compile_decoding: bool = False,
        device: str | None = None,
    ) -> None:
        if max_batch_size < 1 or max_prefill_tokens < 1:
            raise ValueError(
                f"max_batch_size and max_prefill_tokens must be at least 1, got {max_batch_size} and {max_prefill_tokens}"
            )
        self.max_batch_size = max_batch_size
        self.max_prefill_tokens = max_prefill_tokens
        self.own_attention = own_attention
        self.compile_decoding = compile_decoding
        self.device = device
        self.can_overlap = self.can_update_midway = device is not None
        self._decode: tuple[nn.Module, Callable[..., Any]] | None = None
        self._weights = self._nothing()

    def _nothing(self) -> HeldWeights:
        return TrainersModule() if self.device is None else OwnCopy(self.device)

    def update_weights(self, policy: RolloutPolicy, version: int) -> None:
        """Take over the policy's weights: remember its module, or refresh the copy of it on the engine's own device.

        Refreshing is collective where weights are in shards, and may happen while `generate` runs in another thread: it waits for the
        present decoding step. Completions in progress then go on with the new weights *and with the keys and values that the old ones
        left in their cache*; so do pipelined trainers, whose importance ratios are those of the log-probs reported here.

        Raises:
            ValueError: the policy holds no transformers causal LM, or one that cannot be copied weight by weight.
        """
        if policy.model is None:
            raise ValueError("the policy has no model yet: call update_weights after the module has been configured")
        causal_lm_of(policy.model)
        self._weights.update(policy, version)
        self.weight_version = version

    def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], stop_token_ids: Sequence[int]
    ) -> list[list[Completion]]:
        """Sample completions; see `RolloutEngine.generate`.

        Greedy tokens (temperature 0) have log-prob 0: all the mass of the distribution that is sampled lies on them.

        Raises:
            ValueError: no weights yet; a prompt without tokens, with tokens outside the vocabulary, or too long for the model;
                `seeds` that do not fit the prompts.
            FloatingPointError: the model's logits are NaN or infinite.
        """
        if self.weight_version < 0:
            if not prompts:
                return []
            raise ValueError("the engine holds no weights: call update_weights before generate")
        model = self._weights.model
        inner = causal_lm_of(model)
        config = inner.config.get_text_config(decoder=True)
        positions = LengthLimit("the model's max_position_embeddings", getattr(config, "max_position_embeddings", None))
        check_requests(prompts, params, seeds, config.vocab_size, positions)
        jobs = _jobs(prompts, seeds, self.max_batch_size)
        # Even without a row this goes on: with sharded weights the other ranks wait for this one below.
        num_rows = sum(len(row) for row in seeds)
        use_slab = self.own_attention and is_plain_full_attention(inner)
        with self._weights.sampling(SLAB_ATTENTION if use_slab else None):
            max_rows = min(self.max_batch_size, num_rows)
            route = SlabRoute(model, max_rows, params.max_tokens, self._compiled(model)) if use_slab else GenericRoute(model)
            batch = ContinuousBatch(route, params, stop_token_ids, max_rows, num_rows)
            places = [(p, g) for p, row in enumerate(seeds) for g in range(len(row))]
            names = [f"prompt {prompts[p].id!r}, member {g}" for p, g in places]
            completions: dict[int, Completion] = {}

            def take(rows: list[int]) -> None:
                completions.update(zip(rows, batch.completions(rows, names), strict=True))
                self._report([(*places[row], completions[row]) for row in rows], len(completions), num_rows)

            batch.run(jobs, self.max_prefill_tokens, self._weights.step, take)
        in_order = iter(completions[row] for row in range(num_rows))
        return [[next(in_order) for _ in row] for row in seeds]

    def _compiled(self, model: nn.Module) -> Callable[..., Any] | None:
        """Return the compiled model, compiled once for as long as the policy's module stays the same."""
        if not self.compile_decoding:
            return None
        if self._decode is None or self._decode[0] is not model:
            self._decode = (model, torch.compile(model, dynamic=True))
        return self._decode[1]

    def _report(self, finished: Sequence[tuple[int, int, Completion]], num_finished: int, num_rows: int) -> None:
        if self.on_completion is not None:
            for prompt, member, completion in finished:
                self.on_completion(prompt, member, completion)
        if self.on_progress is not None:
            self.on_progress(num_finished, num_rows)

    def close(self) -> None:
        """Let go of the policy, or of the copy of it."""
        self._weights, self._decode, self.weight_version = self._nothing(), None, -1


def _jobs(prompts: Sequence[Prompt], seeds: Sequence[Sequence[int]], max_batch_size: int) -> list[Job]:
    """Gather the rows of equal prompts, the longest prompts first; a group larger than the batch is split."""
    members: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    row = 0
    for prompt, row_seeds in zip(prompts, seeds, strict=True):
        for seed in row_seeds:
            members.setdefault(tuple(prompt.token_ids), []).append((row, seed))
            row += 1
    jobs = [
        Job(token_ids, tuple(r for r, _ in part), tuple(s for _, s in part))
        for token_ids, group in members.items()
        for part in (group[i : i + max_batch_size] for i in range(0, len(group), max_batch_size))
    ]
    return sorted(jobs, key=lambda job: -len(job.token_ids))


install_slab_attention()
