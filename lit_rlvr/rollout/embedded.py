"""Generation inside the trainer's process, by the very module that is being trained: no copy of the weights, nothing to synchronise."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from lit_rlvr.rollout.continuous_batch import ContinuousBatch, Job
from lit_rlvr.rollout.decoding import GenericRoute, SlabRoute, causal_lm_of, is_plain_full_attention
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout.kv_cache import SLAB_ATTENTION, install_slab_attention
from lit_rlvr.types import Completion, Prompt, RolloutPolicy


class EmbeddedEngine(RolloutEngine):
    """Samples from the trainer's own transformers model, on whatever device it lives.

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
    """

    def __init__(
        self,
        max_batch_size: int = 256,
        max_prefill_tokens: int = 16384,
        own_attention: bool = True,
        compile_decoding: bool = False,
    ) -> None:
        if max_batch_size < 1 or max_prefill_tokens < 1:
            raise ValueError(
                f"max_batch_size and max_prefill_tokens must be at least 1, got {max_batch_size} and {max_prefill_tokens}"
            )
        self.max_batch_size = max_batch_size
        self.max_prefill_tokens = max_prefill_tokens
        self.own_attention = own_attention
        self.compile_decoding = compile_decoding
        self._decode: tuple[nn.Module, Callable[..., Any]] | None = None
        self._policy: RolloutPolicy | None = None

    def update_weights(self, policy: RolloutPolicy, version: int) -> None:
        """Remember the policy (its module is read, never copied) and the version of its weights.

        Raises:
            ValueError: the policy holds no transformers causal LM.
        """
        if policy.model is None:
            raise ValueError("the policy has no model yet: call update_weights after the module has been configured")
        causal_lm_of(policy.model)
        self._policy = policy
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
        if not prompts and self._policy is None:
            return []
        if self._policy is None or self._policy.model is None:
            raise ValueError("the engine holds no weights: call update_weights before generate")
        inner = causal_lm_of(self._policy.model)
        _check_prompts(prompts, params, seeds, inner)
        jobs = _jobs(prompts, seeds, self.max_batch_size)
        # Even without a row this goes on: with sharded weights the other ranks wait for this one below.
        num_rows = sum(len(row) for row in seeds)
        use_slab = self.own_attention and is_plain_full_attention(inner)
        with _sampling_mode(self._policy, inner, SLAB_ATTENTION if use_slab else inner.config._attn_implementation):
            max_rows = min(self.max_batch_size, num_rows)
            model = self._policy.model
            route = SlabRoute(model, max_rows, params.max_tokens, self._compiled(model)) if use_slab else GenericRoute(model)
            batch = ContinuousBatch(route, params, stop_token_ids, max_rows, num_rows)
            places = [(p, g) for p, row in enumerate(seeds) for g in range(len(row))]
            names = [f"prompt {prompts[p].id!r}, member {g}" for p, g in places]
            completions: dict[int, Completion] = {}

            def take(rows: list[int]) -> None:
                completions.update(zip(rows, batch.completions(rows, names, self.weight_version), strict=True))
                self._report([(*places[row], completions[row]) for row in rows], len(completions), num_rows)

            batch.run(jobs, self.max_prefill_tokens, take)
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
        """Let go of the policy."""
        self._policy = None


@contextmanager
def _sampling_mode(policy: RolloutPolicy, inner: PreTrainedModel, attention: str) -> Iterator[None]:
    """Switch to evaluation mode, no gradients, the trainer's precision and the given attention, and back at the end."""
    assert policy.model is not None
    training = [module for module in policy.model.modules() if module.training]
    before = inner.config._attn_implementation
    try:
        policy.model.eval()
        inner.config._attn_implementation = attention
        # no_grad, not inference_mode: inference tensors left in a module's buffers would break the next training step.
        with torch.no_grad(), policy.unsharded(), policy.forward_context():
            yield
    finally:
        inner.config._attn_implementation = before
        for module in training:
            module.training = True
        # Inside somebody's autocast the casts made here, without a graph, would be reused by the next forward with gradients.
        torch.clear_autocast_cache()


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


def _check_prompts(
    prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], model: PreTrainedModel
) -> None:
    if len(seeds) != len(prompts):
        raise ValueError(f"seeds must have one row per prompt: got {len(seeds)} rows for {len(prompts)} prompts")
    config = model.config.get_text_config(decoder=True)
    limit = getattr(config, "max_position_embeddings", None)
    vocab_size = config.vocab_size
    for prompt, row_seeds in zip(prompts, seeds, strict=True):
        length = len(prompt.token_ids)
        if length == 0:
            raise ValueError(f"prompt {prompt.id!r} has no token_ids: tokenize prompts before they reach an engine")
        if limit is not None and length + params.max_tokens > limit:
            raise ValueError(
                f"prompt {prompt.id!r} has {length} tokens; with max_tokens={params.max_tokens} that exceeds the model's"
                f" max_position_embeddings={limit}: lower max_tokens or drop prompts longer than {limit - params.max_tokens} tokens"
            )
        if not 0 <= min(prompt.token_ids) <= max(prompt.token_ids) < vocab_size:
            raise ValueError(
                f"prompt {prompt.id!r} has token ids outside the model's vocabulary of {vocab_size}: wrong tokenizer?"
            )
        wrong = next((seed for seed in row_seeds if not 0 <= seed < 2**63), None)
        if wrong is not None:
            raise ValueError(f"seeds must be non-negative and below 2**63, got {wrong} for prompt {prompt.id!r}")


install_slab_attention()
