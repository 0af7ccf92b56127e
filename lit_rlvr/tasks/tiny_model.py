"""A tiny untrained Qwen3 with its tokenizer: the embedded default's starting point."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from lit_rlvr.tasks.tiny_tokenizer import ARITHMETIC, byte_tokenizer, character_tokenizer


@dataclass(frozen=True)
class TinyModelConfig:
    """Sizes of the tiny model: 0.3 million parameters by default."""

    hidden_size: int = 96
    """Width of the residual stream."""
    num_layers: int = 3
    """Transformer layers."""
    num_heads: int = 3
    """Query heads."""
    num_kv_heads: int = 1
    """Key and value heads; divides `num_heads`."""
    head_dim: int = 32
    """Width of a head; even, for the rotary embedding."""
    mlp_size: int = 256
    """Inner width of the gated MLP."""
    ties_embeddings: bool = True
    """Input and output embedding are one matrix."""
    max_positions: int = 256
    """Longest sequence, in tokens."""
    rope_theta: float = 1000.0
    """Base of the rotary embedding's wavelengths. Smaller than a large model's: sequences here are short."""
    init_std: float = 0.05
    """Standard deviation of the initial weights."""
    alphabet: str = ARITHMETIC
    """Characters of the tokenizer; without effect for bytes."""
    words: tuple[str, ...] = ()
    """Longer pieces of text that are one token each; without effect for bytes."""

    def __post_init__(self) -> None:
        """Reject sizes no model can have."""
        for name in ("hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "mlp_size", "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads={self.num_heads} must be a multiple of num_kv_heads={self.num_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for the rotary embedding, got {self.head_dim}")


def make_model(
    path: str,
    model: TinyModelConfig = TinyModelConfig(),
    byte_level: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a tiny untrained Qwen3 and its tokenizer as a Hugging Face model folder.

    Args:
        path: folder to write.
        model: sizes of the model.
        byte_level: one token a byte, which can write any text, instead of one a character of the tasks.
        seed: decides the initial weights.
        overwrite: replace a model that is already there.

    Raises:
        FileExistsError: when the folder holds a model and `overwrite` is not set.
    """
    if (Path(path) / "config.json").exists() and not overwrite:
        raise FileExistsError(f"{path!r} already holds a model: choose another folder, or set `overwrite`")
    tokenizer = byte_tokenizer() if byte_level else character_tokenizer(model.alphabet, model.words)
    build_tiny_model(model, tokenizer, seed).save_pretrained(path)
    tokenizer.save_pretrained(path)


def build_tiny_model(config: TinyModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Qwen3ForCausalLM:
    """Return the untrained float32 model, its vocabulary exactly the tokenizer's. The global random state stays as it was."""
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    architecture = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.mlp_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        tie_word_embeddings=config.ties_embeddings,
        max_position_embeddings=config.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        initializer_range=config.init_std,
        dtype="float32",
        **ends,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(architecture)
    model.generation_config = GenerationConfig(**ends)
    return model
