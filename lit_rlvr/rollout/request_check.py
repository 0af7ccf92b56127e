"""What no engine can sample from."""

from collections.abc import Sequence
from dataclasses import dataclass

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.types import Prompt


@dataclass(frozen=True)
class LengthLimit:
    """How long a prompt and its completion may be together."""

    name: str
    """What sets it, for the message."""
    tokens: int | None
    """None for no limit."""
    mend: str = ""
    """What else can be done about it, such as `raise it, `."""


def check_requests(
    prompts: Sequence[Prompt], params: SamplingParams, seeds: Sequence[Sequence[int]], vocab_size: int, limit: LengthLimit
) -> None:
    """Check prompts, lengths and seeds before anything is generated.

    Raises:
        ValueError: a prompt without tokens, with tokens outside the vocabulary, or too long; seeds that do not fit.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"seeds must have one row per prompt: got {len(seeds)} rows for {len(prompts)} prompts")
    for prompt, row_seeds in zip(prompts, seeds, strict=True):
        length = len(prompt.token_ids)
        if length == 0:
            raise ValueError(f"prompt {prompt.id!r} has no token_ids: tokenize prompts before they reach an engine")
        if limit.tokens is not None and length + params.max_tokens > limit.tokens:
            raise ValueError(
                f"prompt {prompt.id!r} has {length} tokens; with max_tokens={params.max_tokens} that exceeds {limit.name}="
                f"{limit.tokens}: {limit.mend}lower max_tokens or drop prompts longer than {limit.tokens - params.max_tokens} tokens"
            )
        if not 0 <= min(prompt.token_ids) <= max(prompt.token_ids) < vocab_size:
            raise ValueError(
                f"prompt {prompt.id!r} has token ids outside the model's vocabulary of {vocab_size}: wrong tokenizer?"
            )
        wrong = next((seed for seed in row_seeds if not 0 <= seed < 2**63), None)
        if wrong is not None:
            raise ValueError(f"seeds must be non-negative and below 2**63, got {wrong} for prompt {prompt.id!r}")
