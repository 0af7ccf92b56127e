"""The policy: a Hugging Face causal LM seen through its token log-probs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from lit_rlvr.batching import within_token_budget
from lit_rlvr.modules.loading import PolicyConfig, build_model
from lit_rlvr.modules.sequences import predicting_states, scored_rows
from lit_rlvr.modules.weights import named_weights
from lit_rlvr.sharding import unsharded
from lit_rlvr.token_scores import token_scores
from lit_rlvr.types import RolloutBatch, SFTBatch


@dataclass(frozen=True)
class PolicyScores:
    """What one forward pass says of the masked tokens; 0 everywhere else."""

    logprobs: Float[Tensor, "B T"]
    """Log-probability of each token under `softmax(logits / temperature)`."""
    entropy: Float[Tensor, "B T"]
    """Entropy of that distribution, in nats."""


class Policy(nn.Module):
    """Wraps a causal LM and computes token log-probs and entropy without ever holding `[B, T, V]` logits.

    Args:
        config: which model, and how its forward is computed.
        with_reference: keep the initial model too, for a KL term. With LoRA it is the model without its adapters; otherwise a
            frozen second copy, outside the module tree so that no checkpoint or optimizer sees it.
    """

    def __init__(self, config: PolicyConfig, with_reference: bool = False) -> None:
        super().__init__()
        self.config = config
        self.model: nn.Module = build_model(config)
        self.forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext
        self.with_reference = with_reference
        self._reference: tuple[Policy, ...] = ()
        if with_reference and config.lora is None:
            self._reference = (Policy(replace(config, gradient_checkpointing=False)).eval().requires_grad_(False),)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The Hugging Face model itself, without a LoRA wrapper."""
        return _causal_lm(self.model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.model.parameters()).dtype

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        temperature: float = 1.0,
        with_entropy: bool = True,
        with_entropy_gradient: bool = False,
    ) -> PolicyScores:
        """Score the tokens where `mask` is True. Rows are right-padded; column 0 cannot be scored.

        Without `with_entropy` the entropies are 0, which saves a pass over the logits.
        """
        hidden = predicting_states(self.causal_lm.get_decoder(), input_ids, attention_mask, mask, self.config.pack_sequences)
        logprobs, entropy = token_scores(
            hidden,
            self.causal_lm.get_output_embeddings(),
            input_ids[mask],
            temperature=temperature,
            chunk_size=self.config.chunk_size,
            with_entropy=with_entropy,
            detach_entropy=not with_entropy_gradient,
        )
        spread = _spread(logprobs, mask)
        return PolicyScores(spread, torch.zeros_like(spread) if entropy is None else _spread(entropy, mask))

    @property
    def compute_dtype(self) -> torch.dtype:
        """The type that matrix products are computed in: that of the trainer's autocast, or of the weights."""
        kind = self.device.type
        with self.forward_context():
            return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.dtype

    def unsharded(self) -> AbstractContextManager[None]:
        """Return a context in which every rank holds all weights. Entering it is collective."""
        return unsharded(self)

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each weight whole, under its name in a Hugging Face checkpoint; see `weights.named_weights`."""
        return named_weights(self.model)

    @torch.no_grad()
    def token_logprobs(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], temperature: float
    ) -> list[list[float]]:
        """Return the log-prob of each token of each completion after its prompt, under `softmax(logits / temperature)`.

        In the trainer's precision. With sharded weights every rank must call it, with as many tokens.

        Raises:
            ValueError: a prompt is empty, so that the first token of its completion has no prediction; a temperature of 0.
        """
        if not prompts:
            return []
        rows = scored_rows(prompts, completions)
        logprobs = self._score_all(self, rows, temperature)
        return [row[mask].tolist() for row, mask in zip(logprobs, rows.loss_mask, strict=True)]

    @torch.no_grad()
    def score(self, batch: RolloutBatch) -> RolloutBatch:
        """Return the batch, on its own device, with `old_logprobs` (and `ref_logprobs`, when a reference is kept)."""
        self._reference = tuple(reference.to(self.device) for reference in self._reference)
        old = self._score_all(self, batch, batch.temperature)
        if not self.with_reference:
            return replace(batch, old_logprobs=old)
        with self._reference_policy() as reference:
            ref = self._score_all(reference, batch, batch.temperature)
            return replace(batch, old_logprobs=old, ref_logprobs=ref)

    @contextmanager
    def _reference_policy(self) -> Iterator["Policy"]:
        if self._reference:
            yield self._reference[0]
        else:
            with self.model.disable_adapter():  # type: ignore[operator]
                yield self

    def _score_all(self, policy: "Policy", batch: RolloutBatch | SFTBatch, temperature: float) -> Float[Tensor, "B T"]:
        lengths = batch.attention_mask.sum(dim=1).tolist()
        logprobs = torch.zeros(batch.loss_mask.shape, dtype=torch.promote_types(self.dtype, torch.float32))
        for run in within_token_budget(lengths, budget=4 * self.config.chunk_size):
            part = batch.rows(torch.tensor(run)).to(self.device)
            with self.forward_context():
                scores = policy(part.input_ids, part.attention_mask, part.loss_mask, temperature, with_entropy=False)
            logprobs[torch.tensor(run), : part.input_ids.shape[1]] = scores.logprobs.to(logprobs)
        return logprobs.to(batch.loss_mask.device)

    @torch.no_grad()
    def check_against_full_logits(self, tolerance: float | None = None) -> None:
        """Compare the chunked log-probs of two short sequences with the model's own logits of each.

        Some architectures transform the logits after the head (soft-capping, scaling), and some let a packed sequence see the one
        before it; training on anything else than what the model says would be silently wrong.

        Raises:
            RuntimeError: they differ by more than `tolerance` (default 1e-3, 0.1 for weights in half precision).
        """
        tolerance = tolerance or (0.1 if self.dtype == torch.bfloat16 else 1e-3)
        tokens = torch.arange(16, device=self.device).reshape(2, 8) % self.causal_lm.config.vocab_size
        attended = torch.ones_like(tokens, dtype=torch.bool)
        attended[0, 5:] = False
        scored = attended.clone()
        scored[:, 0] = False
        ours = self(tokens, attended, scored, with_entropy=False).logprobs
        with self.unsharded():
            logits = [
                self.model(input_ids=row[None, :end], use_cache=False).logits for row, end in zip(tokens, (5, 8), strict=True)
            ]
        full = [_next_token_logprobs(row_logits, row) for row_logits, row in zip(logits, tokens, strict=True)]
        gap = float((ours[scored] - torch.cat(full).to(ours)).abs().max())
        if not gap <= tolerance:
            packed = " or lets packed sequences see each other: try pack_sequences: false" if self.config.pack_sequences else ""
            raise RuntimeError(
                f"{type(self.causal_lm).__name__}: log-probs from the hidden states differ from the model's own by {gap:.2g} "
                f"(it probably changes the logits after its head{packed}); this architecture is not supported"
            )


def _next_token_logprobs(logits: Float[Tensor, "1 N V"], tokens: Int[Tensor, " T"]) -> Float[Tensor, " M"]:
    """Return the log-probs of the tokens after the first, from all logits of the `N` first positions."""
    everything = torch.log_softmax(logits[0, :-1].to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    return everything.gather(-1, tokens[1 : logits.shape[1], None])[:, 0]


def _spread(values: Float[Tensor, " N"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Put one value on each masked token, and 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=mask.device).masked_scatter(mask, values)


def _causal_lm(model: nn.Module) -> PreTrainedModel:
    """Return the Hugging Face causal LM inside a possible PEFT wrapper."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return cast(PreTrainedModel, inner)
