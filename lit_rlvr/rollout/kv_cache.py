"""A key-value cache in preallocated slabs, and the attention that reads it with a single query token."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

SLAB_ATTENTION = "lit_rlvr_slab"
"""Name of `slab_attention` in transformers' table of attention functions."""
_HARMLESS = frozenset({"position_ids", "cache_position", "use_cache", "is_causal"})


class SlabCache(Cache):
    """Keys and values of the rows being decoded. All rows write into the same column; row `n` may read columns `start[n]` onwards.

    A row keeps its own positions (they are baked into its keys), so a row that joins late is simply right-aligned with the
    others. Finished rows are overwritten by rows from the end of the slab.

    Args:
        max_rows: most rows held at once.
        spare_columns: columns allocated beyond those already written, at first and whenever the slab is rebuilt.
    """

    def __init__(self, max_rows: int, spare_columns: int) -> None:
        super().__init__(layers=[])
        self.max_rows = max_rows
        self.spare_columns = spare_columns
        self.num_rows = 0
        self.column = 0
        """The next column to be written."""
        self.width = 0
        """Allocated columns."""
        self.rows = max_rows
        """Allocated rows."""
        self.slabs: list[tuple[Float[Tensor, "N H W D"], Float[Tensor, "N H W E"]]] = []
        self._live: list[tuple[Float[Tensor, "n H W D"], Float[Tensor, "n H W E"]]] = []
        """The present rows of each slab: views kept because slicing anew costs as much as writing a token."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the number of columns written, the padding of shorter rows included."""
        return self.column

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return the number of columns a mask must cover, and the first of them."""
        return self.column + query_length, 0

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Float[Tensor, "n H W D"], Float[Tensor, "n H W E"]]:
        """Write one layer's new keys and values, and return all that may be read. The column advances with `advance` only."""
        if layer_idx == len(self.slabs):
            self._allocate_layer(key_states, value_states)
        if layer_idx == len(self._live):
            keys, values = self.slabs[layer_idx]
            self._live.append((keys[: self.num_rows], values[: self.num_rows]))
        keys, values = self._live[layer_idx]
        length = key_states.shape[2]
        keys.narrow(2, self.column, length).copy_(key_states)
        values.narrow(2, self.column, length).copy_(value_states)
        return keys.narrow(2, 0, self.column + length), values.narrow(2, 0, self.column + length)

    def advance(self) -> None:
        """Move to the next column, once all layers have written."""
        self.column += 1

    def append(self, prompts: DynamicCache, prompt_of_row: Int[Tensor, " k"], lengths: Int[Tensor, " P"]) -> None:
        """Add rows after the last one, each with the keys and values of its prompt, right-aligned at the present column.

        Args:
            prompts: what the prefill of `P` right-padded prompts left behind; empty when no prompt had anything to prefill.
            prompt_of_row: the prompt of each new row.
            lengths: prefilled tokens of each prompt; none exceeds the present column.
        """
        self._live.clear()
        written = prompts.get_seq_length() if prompts.layers else 0
        if self.num_rows == 0:
            self.slabs.clear()
            self.rows, self.column, self.width = self.max_rows, written, written + self.spare_columns
        elif self.num_rows + len(prompt_of_row) > self.rows:
            self.rebuild(first_column=0, rows=self.max_rows)
        first, self.num_rows = self.num_rows, self.num_rows + len(prompt_of_row)
        if written == 0:
            return
        columns = torch.arange(written, device=lengths.device) + (lengths - written)[prompt_of_row].unsqueeze(1)
        index = (prompt_of_row.unsqueeze(1), columns.clamp_(min=0))
        for number, (keys, values, _) in enumerate(prompts):
            if number == len(self.slabs):
                self._allocate_layer(keys, values)
            for slab, source in zip(self.slabs[number], (keys, values), strict=True):
                rows = source.transpose(1, 2)[index].transpose(1, 2)
                slab[first : self.num_rows, :, self.column - written : self.column] = rows

    def fill_holes(self, holes: Int[Tensor, " h"], last: Int[Tensor, " h"], num_rows: int) -> None:
        """Overwrite the rows `holes` by the rows `last`, and forget all rows from `num_rows` on."""
        self.num_rows = num_rows
        self._live.clear()
        if len(holes):
            for slab in (slab for layer in self.slabs for slab in layer):
                slab[holes, :, : self.column] = slab[last, :, : self.column]

    def rebuild(self, first_column: int, rows: int | None = None) -> None:
        """Forget the columns before `first_column`; allocate `spare_columns` (at least half as many as are kept) beyond the present one.

        Without `rows` only the present rows keep their places, so that a few long completions do not hold the memory of many.
        """
        self._live.clear()
        kept = self.column - first_column
        self.rows = self.num_rows if rows is None else rows
        self.width = kept + max(self.spare_columns, kept // 2)
        for number, (keys, values) in enumerate(self.slabs):
            self.slabs[number] = (self._move(keys, first_column), self._move(values, first_column))
        self.column = kept

    def _move(self, slab: Float[Tensor, "N H W D"], first_column: int) -> Float[Tensor, "N2 H W2 D"]:
        moved = slab.new_zeros(self.rows, slab.shape[1], self.width, slab.shape[3])
        moved[: self.num_rows, :, : self.column - first_column] = slab[: self.num_rows, :, first_column : self.column]
        return moved

    def _allocate_layer(self, keys: Tensor, values: Tensor) -> None:
        # Zeros, not empty memory: masked columns have weight 0, and 0 times a stray NaN would still be NaN.
        shapes = ((self.rows, x.shape[1], self.width, x.shape[3]) for x in (keys, values))
        first, second = (x.new_zeros(shape) for x, shape in zip((keys, values), shapes, strict=True))
        self.slabs.append((first, second))


def slab_attention(
    module: nn.Module,
    query: Float[Tensor, "n Hq T D"],
    key: Float[Tensor, "n H W D"],
    value: Float[Tensor, "n H W E"],
    attention_mask: Float[Tensor, "n 1 1 W"] | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Float[Tensor, "n T Hq E"], None]:
    """Full attention for generation: several tokens attend causally (prefill), a single one to all of its row's columns.

    The query heads that share a key head are folded into the query's length, so keys and values are read where they lie and
    never repeated.

    Raises:
        ValueError: the model asks for something that full attention lacks (a sliding window, sinks, a soft cap, ...).
    """
    extras = sorted(name for name, v in kwargs.items() if v is not None and v is not False and name not in _HARMLESS)
    if extras or dropout:
        raise ValueError(
            f"{type(module).__name__} asks its attention for {', '.join(extras) or 'dropout'}, which the engine's own attention"
            " lacks: set own_attention: false on EmbeddedEngine"
        )
    if query.shape[2] > 1:
        return sdpa_attention_forward(module, query, key, value, None, scaling=scaling, is_causal=True)
    n, num_heads, _, head_dim = query.shape
    num_kv_heads = key.shape[1]
    scale = head_dim**-0.5 if scaling is None else scaling
    if query.device.type == "cpu" and query.dtype == value.dtype == torch.float32:
        folded = query.reshape(n * num_kv_heads, num_heads // num_kv_heads, head_dim)
        keys, values = key.flatten(0, 1).transpose(1, 2), value.flatten(0, 1)
        if attention_mask is None:
            scores = torch.bmm(folded, keys).mul_(scale)
        else:
            bias = attention_mask.expand(n, num_kv_heads, 1, -1).reshape(n * num_kv_heads, 1, -1)
            scores = torch.baddbmm(bias, folded, keys, alpha=scale)
        output = torch.bmm(scores.softmax(dim=-1), values)
    else:
        # Scores stay in float32 inside the fused kernel, whatever the precision of the model.
        folded = query.reshape(n, num_kv_heads, num_heads // num_kv_heads, head_dim)
        mask = None if attention_mask is None else attention_mask.to(query.dtype)
        output = nn.functional.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scale)
    return output.reshape(n, 1, num_heads, value.shape[3]), None


def install_slab_attention() -> None:
    """Put `slab_attention` into transformers' table of attention functions; it gets no mask other than the one handed to the model."""
    if SLAB_ATTENTION in ALL_MASK_ATTENTION_FUNCTIONS:
        raise ValueError(f"another package has registered a mask for {SLAB_ATTENTION}; the engine builds its own")
    ALL_ATTENTION_FUNCTIONS.register(SLAB_ATTENTION, slab_attention)
