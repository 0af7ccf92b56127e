"""Sequences of tokens as a policy reads them: rows to score, and the hidden states that predict their tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lit_rlvr.batching import pad_right
from lit_rlvr.types import SFTBatch


def scored_rows(prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> SFTBatch:
    """Return prompts and completions as right-padded rows on the CPU; the mask is True on the completions."""
    pairs = list(zip(prompts, completions, strict=True))
    loss_mask = pad_right([[0] * len(prompt) + [1] * len(completion) for prompt, completion in pairs], torch.bool)
    return SFTBatch(
        input_ids=pad_right([[*prompt, *completion] for prompt, completion in pairs], torch.long),
        attention_mask=pad_right([[1] * (len(prompt) + len(completion)) for prompt, completion in pairs], torch.bool),
        loss_mask=loss_mask,
        loss_weights=torch.zeros(loss_mask.shape),
    )


def predicting_states(
    decoder: nn.Module,
    input_ids: Int[Tensor, "B T"],
    attention_mask: Bool[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    is_packed: bool,
) -> Float[Tensor, "N H"]:
    """Return the hidden states that predict the masked tokens: those of the positions before them.

    With `is_packed` the rows run behind each other in one row without padding.

    Raises:
        ValueError: the first token of a row is masked; nothing predicts it.
    """
    if bool(mask[:, 0].any()):
        raise ValueError("the first token of a row has no prediction: its loss mask must be False")
    predicts = functional.pad(mask[:, 1:], (0, 1))
    if not is_packed:
        output = decoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        return output.last_hidden_state[predicts]
    # Positions that start again at 0, and no attention mask, are how transformers is told where a sequence begins.
    position_ids = attention_mask.cumsum(dim=1)[attention_mask][None] - 1
    output = decoder(input_ids=input_ids[attention_mask][None], position_ids=position_ids, use_cache=False)
    return output.last_hidden_state[0][predicts[attention_mask]]
