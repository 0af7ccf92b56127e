"""Two-layer models of several families with random weights, as policies an engine can sample from."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    Qwen3NextConfig,
)
from transformers.models.auto import AutoModelForCausalLM

from lit_rlvr.modules.weights import named_weights
from lit_rlvr.sharding import unsharded
from lit_rlvr.types import Prompt, RolloutBatch

VOCAB = 40
SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "qwen3": Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=False),
    "llama": LlamaConfig(**SHAPE),
    "gpt2": GPT2Config(
        vocab_size=VOCAB,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=128,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
    ),
    "mistral_window": MistralConfig(**SHAPE, sliding_window=6),
    "qwen3_window": Qwen3Config(**SHAPE, head_dim=16, use_sliding_window=True, sliding_window=6, max_window_layers=1),
    "gemma2": Gemma2Config(**{**SHAPE, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "qwen3_next": Qwen3NextConfig(
        **SHAPE,
        head_dim=16,
        layer_types=["linear_attention", "full_attention"],
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    ),
}
PLAIN = ("qwen3", "qwen2", "llama", "gpt2")


@dataclass
class TinyPolicy:
    """The part of a policy that the embedded engine asks for."""

    model: Any
    precision: torch.dtype | None = None

    @property
    def compute_dtype(self) -> torch.dtype:
        return self.precision or next(self.model.parameters()).dtype

    def named_weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        return named_weights(self.model)

    @torch.no_grad()
    def token_logprobs(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], temperature: float
    ) -> list[list[float]]:
        results = []
        for prompt, completion in zip(prompts, completions, strict=True):
            with self.forward_context():
                logits = self.model(torch.tensor([[*prompt, *completion]]), use_cache=False).logits[0, len(prompt) - 1 : -1]
            everything = (logits.float() / temperature).log_softmax(dim=-1)
            results.append(everything.gather(1, torch.tensor(completion)[:, None])[:, 0].tolist())
        return results

    def score(self, batch: RolloutBatch) -> RolloutBatch:
        return batch

    def unsharded(self) -> Any:
        return unsharded(self.model)

    def forward_context(self) -> Any:
        return nullcontext() if self.precision is None else torch.autocast("cpu", self.precision)


def tiny_model(name: str, seed: int = 0) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(type(CONFIGS[name])(**CONFIGS[name].to_diff_dict()))


def prompts_of_lengths(*lengths: int) -> list[Prompt]:
    generator = torch.Generator().manual_seed(1)
    ids = [tuple(torch.randint(1, VOCAB, (n,), generator=generator).tolist()) for n in lengths]
    return [Prompt(id=f"p{i}", messages=(), token_ids=t) for i, t in enumerate(ids)]


def seed_grid(num_prompts: int, group_size: int) -> list[list[int]]:
    return [[1000 * p + g for g in range(group_size)] for p in range(num_prompts)]
