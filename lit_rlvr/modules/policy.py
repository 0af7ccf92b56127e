"""The policy: a Hugging Face causal LM seen through its token log-probs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from lit_rlvr.batching import within_token_budget
from lit_rlvr.modules.loading import PolicyConfig, build_model
from lit_rlvr.token_scores import token_scores
from lit_rlvr.types import RolloutBatch


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
        self._reference: tuple[nn.Module, ...] = ()
        if with_reference and config.lora is None:
            self._reference = (build_model(replace(config, gradient_checkpointing=False)).eval().requires_grad_(False),)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The Hugging Face model itself, without a LoRA wrapper."""
        return _causal_lm(self.model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        temperature: float = 1.0,
        with_entropy_gradient: bool = False,
    ) -> PolicyScores:
        """Score the tokens where `mask` is True. Rows are right-padded; column 0 cannot be scored."""
        hidden = _hidden_states(self.model, input_ids, attention_mask, mask)
        logprobs, entropy = token_scores(
            hidden,
            self.causal_lm.get_output_embeddings(),
            input_ids[mask],
            temperature=temperature,
            chunk_size=self.config.chunk_size,
            with_entropy=True,
            detach_entropy=not with_entropy_gradient,
        )
        assert entropy is not None
        return PolicyScores(_spread(logprobs, mask), _spread(entropy, mask))

    @torch.no_grad()
    def score(self, batch: RolloutBatch) -> RolloutBatch:
        """Return the batch, on its own device, with `old_logprobs` (and `ref_logprobs`, when a reference is kept)."""
        self._reference = tuple(reference.to(self.device) for reference in self._reference)
        old = self._score_all(self.model, batch)
        if not self.with_reference:
            return replace(batch, old_logprobs=old)
        with self._reference_model() as reference:
            return replace(batch, old_logprobs=old, ref_logprobs=self._score_all(reference, batch))

    @contextmanager
    def _reference_model(self) -> Iterator[nn.Module]:
        if self._reference:
            yield self._reference[0]
        else:
            with self.model.disable_adapter():  # type: ignore[operator]
                yield self.model

    def _score_all(self, model: nn.Module, batch: RolloutBatch) -> Float[Tensor, "B T"]:
        lengths = batch.attention_mask.sum(dim=1).tolist()
        logprobs = torch.zeros(batch.loss_mask.shape)
        for run in within_token_budget(lengths, budget=4 * self.config.chunk_size):
            part = batch.rows(torch.tensor(run)).to(self.device)
            with self.forward_context():
                hidden = _hidden_states(model, part.input_ids, part.attention_mask, part.loss_mask)
                head = _causal_lm(model).get_output_embeddings()
                scored, _ = token_scores(hidden, head, part.input_ids[part.loss_mask], part.temperature, self.config.chunk_size)
            logprobs[torch.tensor(run), : part.input_ids.shape[1]] = _spread(scored, part.loss_mask).float().cpu()
        return logprobs.to(batch.loss_mask.device)

    @torch.no_grad()
    def check_against_full_logits(self, tolerance: float | None = None) -> None:
        """Compare the chunked log-probs with the model's own logits on a few tokens.

        Some architectures transform the logits after the head (soft-capping, scaling); training on anything else than what the
        model says would be silently wrong.

        Raises:
            RuntimeError: they differ by more than `tolerance` (default 1e-3, 0.1 for weights in half precision).
        """
        tolerance = tolerance or (1e-3 if next(self.model.parameters()).dtype == torch.float32 else 0.1)
        tokens = torch.arange(8, device=self.device)[None] % self.causal_lm.config.vocab_size
        mask = torch.ones_like(tokens, dtype=torch.bool)
        scored = mask.clone()
        scored[:, 0] = False
        ours = self(tokens, mask, scored).logprobs[:, 1:]
        logits = self.model(input_ids=tokens, attention_mask=mask, use_cache=False).logits.float()
        full = torch.log_softmax(logits[:, :-1], dim=-1).gather(-1, tokens[:, 1:, None])[..., 0]
        gap = float((ours - full).abs().max())
        if not gap <= tolerance:
            raise RuntimeError(
                f"{type(self.causal_lm).__name__}: log-probs from the hidden states differ from the model's own by {gap:.2g} "
                "(it probably changes the logits after its head); this architecture is not supported"
            )


def _hidden_states(
    model: nn.Module, input_ids: Int[Tensor, "B T"], attention_mask: Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "N H"]:
    """Return the hidden states that predict the masked tokens: those of the positions before them."""
    if bool(mask[:, 0].any()):
        raise ValueError("the first token of a row has no prediction: its loss mask must be False")
    decoder = _causal_lm(model).get_decoder()
    output = decoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    return output.last_hidden_state[:, :-1][mask[:, 1:]]


def _spread(values: Float[Tensor, " N"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Put one value on each masked token, and 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=mask.device).masked_scatter(mask, values)


def _causal_lm(model: nn.Module) -> PreTrainedModel:
    """Return the Hugging Face causal LM inside a possible PEFT wrapper."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return cast(PreTrainedModel, inner)
