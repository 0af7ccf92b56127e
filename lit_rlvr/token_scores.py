"""Log-probs and entropies of tokens from hidden states, without ever holding the logits of all of them."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Head = Callable[[Tensor], Tensor]
"""Maps hidden states `[n, H]` to logits `[n, V]`."""


def token_scores(
    hidden: Float[Tensor, "N H"],
    head: Head,
    targets: Int[Tensor, " N"],
    temperature: float = 1.0,
    chunk_size: int = 1024,
    with_entropy: bool = False,
    detach_entropy: bool = False,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"] | None]:
    """Return the log-prob of each target and, on request, the entropy of its distribution (nats), both differentiable.

    Logits exist for `chunk_size` tokens at a time, in the forward and in the backward pass, where they are computed again;
    the peak is a few float32 tensors `[chunk_size, V]` instead of `[N, V]`. Logits are scaled and normalized in float32
    (float64 stays), whatever the precision of the head. Logits of -inf are allowed: they have probability 0 and add nothing
    to the entropy.

    Args:
        hidden: the state that predicts each target.
        head: hidden states to logits; called once per chunk, and once more per chunk in the backward pass.
        targets: the token to score in each row.
        temperature: divides the logits, as in sampling.
        chunk_size: rows per chunk; changes memory and speed, not the result.
        with_entropy: also return the entropies; None otherwise.
        detach_entropy: compute the entropies without a gradient, which saves work when they are only logged.

    Raises:
        ValueError: `temperature` is not positive, or `chunk_size` is below 1.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive to score tokens, got {temperature}: greedy sampling has no log-probs")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")

    def score(chunk: Tensor, chunk_targets: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = head(chunk)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        logprobs = logits.log_softmax(dim=-1)
        entropy = _entropy(logprobs.detach() if detach_entropy else logprobs) if with_entropy else None
        return logprobs.gather(-1, chunk_targets[:, None]).squeeze(-1), entropy

    scores = []
    # `split`, not slices: the backward of a slice allocates the gradient of the whole tensor, once per chunk.
    for chunk, chunk_targets in zip(hidden.split(chunk_size), targets.split(chunk_size), strict=True):
        if torch.is_grad_enabled():
            scores.append(checkpoint(score, chunk, chunk_targets, use_reentrant=False))
        else:
            scores.append(score(chunk, chunk_targets))
    entropies = torch.cat([entropy for _, entropy in scores]) if with_entropy else None
    return torch.cat([logprobs for logprobs, _ in scores]), entropies


def _entropy(logprobs: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
    """Return `-sum(p log p)` of each row."""
    # 0 * -inf is NaN; the product's limit is 0.
    finite_logprobs = logprobs.masked_fill(logprobs == -torch.inf, 0.0)
    return -(logprobs.exp() * finite_logprobs).sum(dim=-1)
