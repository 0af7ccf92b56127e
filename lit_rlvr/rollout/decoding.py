"""Two ways to drive a causal LM one token at a time: over our own slab cache, or over transformers' own cache and attention."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from lit_rlvr.rollout.kv_cache import SlabCache

Tokens = Sequence[int]
INITIAL_COLUMNS = 256
"""Columns allocated for new tokens before a cache is first enlarged."""


def causal_lm_of(model: nn.Module) -> PreTrainedModel:
    """Return the transformers model inside `model` (adapters wrap it).

    Raises:
        ValueError: there is none, or it cannot continue a prompt token by token.
    """
    inner = next((m for m in model.modules() if isinstance(m, PreTrainedModel)), None)
    if inner is None:
        raise ValueError(f"the embedded engine drives transformers models; {type(model).__name__} holds none")
    if inner.config.is_encoder_decoder:
        raise ValueError(
            f"{type(inner).__name__} is an encoder-decoder; the embedded engine continues prompts of causal LMs only"
        )
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise ValueError(
            "prompt-learning adapters put virtual tokens into the cache, which the embedded engine does not know: use LoRA"
        )
    return inner


def is_plain_full_attention(model: PreTrainedModel) -> bool:
    """Return True when every layer attends to all earlier tokens, through transformers' exchangeable attention functions.

    Sliding windows, chunks, linear attention and hybrids are what transformers' own cache would treat in another way than
    as a plain list of keys and values; models made of several models are left alone as well.
    """
    parameters = signature(type(model).forward).parameters
    return (
        bool(model._supports_attention_backend)
        and not model.config.sub_configs
        and {"attention_mask", "position_ids", "past_key_values"} <= parameters.keys()
        and all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
    )


class DecodingRoute(ABC):
    """A batch of rows that grow by one token at a time. Row `i` is the `i`-th admitted row that has not been dropped.

    Every prompt is prefilled up to its last token but one: the last is the first token that `step` is given.
    """

    accepts_any_time: bool
    """True when rows of any length can join rows that are being decoded; False when all must be admitted at once, with equal lengths."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        inner = causal_lm_of(model)
        self.device: torch.device = inner.device
        self._only_last = {"logits_to_keep": 1} if "logits_to_keep" in signature(type(inner).forward).parameters else {}

    @abstractmethod
    def admit(self, prompts: Sequence[Tokens], members: Sequence[int]) -> None:
        """Prefill each prompt once and append its `members` rows."""

    @abstractmethod
    def step(self, tokens: Int[Tensor, " n"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n V"]:
        """Append one token to every row and return the logits of the next."""

    @abstractmethod
    def drop(self, holes: Int[Tensor, " h"], last: Int[Tensor, " h"], num_rows: int) -> None:
        """Move the rows `last` into `holes` and forget all rows from `num_rows` on."""

    def _prefill(self, prompts: Sequence[Tokens], cache: Cache | None) -> Cache | None:
        """Run the model over right-padded prompts without their last tokens. Causality keeps the padding out of what matters."""
        width = max(len(prompt) for prompt in prompts) - 1
        if width == 0:
            return cache
        padded = [[*prompt[:-1], *[0] * (width - len(prompt) + 1)] for prompt in prompts]
        ids = torch.tensor(padded, device=self.device)
        return self.model(input_ids=ids, past_key_values=cache, use_cache=True, **self._only_last).past_key_values


class SlabRoute(DecodingRoute):
    """Plain full attention over a `SlabCache`: rows of any length, joining and leaving at any time."""

    accepts_any_time = True

    def __init__(self, model: nn.Module, max_rows: int, max_tokens: int, decode: Callable[..., Any] | None = None) -> None:
        super().__init__(model)
        self.decode = model if decode is None else decode
        self.cache = SlabCache(max_rows, min(max_tokens, INITIAL_COLUMNS) + 1)
        self.start = torch.zeros(max_rows, dtype=torch.long, device=self.device)
        """First column each row may read."""
        self._bias: Float[Tensor, "n 1 1 W"] | None = None

    def admit(self, prompts: Sequence[Tokens], members: Sequence[int]) -> None:  # noqa: D102
        lengths = torch.tensor([len(prompt) - 1 for prompt in prompts], device=self.device)
        prompt_of_row = torch.arange(len(prompts)).repeat_interleave(torch.tensor(members)).to(self.device)
        filled = self._prefill(prompts, DynamicCache())
        first = self.cache.num_rows
        self.cache.append(filled, prompt_of_row, lengths)  # type: ignore[arg-type]
        self.start[first : self.cache.num_rows] = self.cache.column - lengths[prompt_of_row]
        self._build_bias()

    def step(self, tokens: Int[Tensor, " n"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n V"]:  # noqa: D102
        cache = self.cache
        if cache.column == cache.width:
            first = int(self.start[: cache.num_rows].min())
            cache.rebuild(first)
            self.start -= first
            self._build_bias()
        bias = None if self._bias is None else self._bias[..., : cache.column + 1]
        output = self.decode(
            input_ids=tokens.unsqueeze(1),
            position_ids=positions.unsqueeze(1),
            attention_mask=bias,
            past_key_values=cache,
            use_cache=True,
        )
        cache.advance()
        return output.logits[:, -1]

    def drop(self, holes: Int[Tensor, " h"], last: Int[Tensor, " h"], num_rows: int) -> None:  # noqa: D102
        self.cache.fill_holes(holes, last, num_rows)
        self.start[holes] = self.start[last]
        if self._bias is not None:
            self._bias[holes] = self._bias[last]
            self._bias = self._bias[:num_rows]

    def _build_bias(self) -> None:
        start = self.start[: self.cache.num_rows]
        hidden = torch.arange(self.cache.width, device=self.device) < start.unsqueeze(1)
        self._bias = None
        if bool(hidden.any()):
            self._bias = torch.zeros(hidden.shape, device=self.device).masked_fill_(hidden, -torch.inf)[:, None, None]


class GenericRoute(DecodingRoute):
    """Any causal LM with a transformers cache: rows of equal length, no padding and no mask, so whatever its layers do stays right."""

    accepts_any_time = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.cache: Cache | None = None

    def admit(self, prompts: Sequence[Tokens], members: Sequence[int]) -> None:  # noqa: D102
        self.cache = self._prefill(prompts, None)
        prompt_of_row = torch.arange(len(prompts)).repeat_interleave(torch.tensor(members))
        self._reorder(prompt_of_row.to(self.device))

    def step(self, tokens: Int[Tensor, " n"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n V"]:  # noqa: D102
        output = self.model(input_ids=tokens.unsqueeze(1), past_key_values=self.cache, use_cache=True)
        if not isinstance(output.get("past_key_values"), Cache):
            raise ValueError(
                f"{type(causal_lm_of(self.model)).__name__} keeps no transformers Cache: the embedded engine cannot drive it"
            )
        self.cache = output.past_key_values
        return output.logits[:, -1]

    def drop(self, holes: Int[Tensor, " h"], last: Int[Tensor, " h"], num_rows: int) -> None:  # noqa: D102
        order = torch.arange(num_rows, device=self.device)
        order[holes] = last
        self._reorder(order)

    def _reorder(self, rows: Int[Tensor, " n"]) -> None:
        if self.cache is not None:
            self.cache.reorder_cache(rows)  # type: ignore[arg-type]
