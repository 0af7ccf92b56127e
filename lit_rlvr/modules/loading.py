"""Building the causal language model: from pretrained weights or a bare configuration, with or without LoRA."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from lit_rlvr.seeding import derive_seed


@dataclass(frozen=True)
class LoRAConfig:
    """Low-rank adapters (needs the `lora` extra). Only the adapters are trained; the frozen model is the reference policy."""

    rank: int = 16
    """Rank of the update of each adapted matrix."""
    alpha: int = 32
    """The update is scaled by `alpha / rank`."""
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    """Names of the linear layers to adapt, or all of them but the language-model head."""


@dataclass(frozen=True)
class PolicyConfig:
    """Which model is trained, and how its forward pass is computed."""

    path: str
    """Hugging Face model name, or a local folder with `config.json` (and weights, unless `random_init`)."""
    random_init: bool = False
    """Draw the weights at random instead of loading them; only the configuration is read from `path`."""
    init_seed: int = 0
    """Seed of the random weights and of fresh LoRA adapters."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Type the weights are kept in; float64 is for checks. Keep float32 and set `trainer.precision: bf16-mixed` for training in
    bf16: in pure bfloat16 an RL-sized update is often smaller than the rounding of the weight it changes."""
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernel of the training forward."""
    gradient_checkpointing: bool = False
    """Recompute the layers' activations in the backward pass: less memory, about a third more computation."""
    pack_sequences: bool = False
    """Run the sequences of a micro-batch behind each other in one row without padding, each attending to itself only. Gradients
    are those of padded rows. Saves the padding with `flash_attention_2`; the other kernels build a mask of its length squared."""
    chunk_size: int = 1024
    """Tokens whose logits are alive at once when log-probs are computed."""
    lora: LoRAConfig | None = None
    """Train low-rank adapters instead of the whole model."""


def build_model(config: PolicyConfig) -> nn.Module:
    """Build the model on the current default device, ready to train.

    Dropout is set to 0 throughout: with it, the ratio of an unchanged policy to itself would not be 1.

    Raises:
        FileNotFoundError: nothing is found under `config.path`.
    """
    dtype = getattr(torch, config.dtype)
    hf_config = _read_config(config.path)
    if config.random_init:
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(config.init_seed, "model"))
            model = AutoModelForCausalLM.from_config(hf_config, dtype=dtype, attn_implementation=config.attn_implementation)
    else:
        model = AutoModelForCausalLM.from_pretrained(
            config.path, config=hf_config, dtype=dtype, attn_implementation=config.attn_implementation
        )
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    return model if config.lora is None else _with_lora(model, config.lora, config.init_seed)


def _read_config(path: str) -> PretrainedConfig:
    try:
        config = AutoConfig.from_pretrained(path)
    except OSError as error:
        raise FileNotFoundError(
            f"no model at {path!r}: policy.path must be a Hugging Face model name or a folder with a config.json "
            "(`lit-rlvr make-model DIR` makes a small one)"
        ) from error
    for name, value in vars(config).items():
        if name.endswith(("dropout", "pdrop")) and isinstance(value, int | float):
            setattr(config, name, 0.0)
    return config


def _with_lora(model: PreTrainedModel, lora: LoRAConfig, seed: int) -> nn.Module:
    try:
        import peft
    except ImportError as error:
        raise ImportError("policy.lora needs peft: pip install 'lit_rlvr[lora]'") from error
    adapters = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=lora.target_modules, lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "lora"))
        return peft.get_peft_model(model, adapters)
