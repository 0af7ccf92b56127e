"""Weights by name: exactly what `save_pretrained` writes and `merge_and_unload` computes, and an error where that is not so."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn
from transformers import (
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    Qwen3NextConfig,
)
from transformers.core_model_loading import Chunk, WeightConverter
from transformers.models.auto import AutoModelForCausalLM

from lit_rlvr.modules import LoRAConfig, Policy, PolicyConfig
from lit_rlvr.modules.weights import named_weights

SHAPE: dict[str, Any] = {
    "vocab_size": 24,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "pad_token_id": 0,
}
EXPERTS: dict[str, Any] = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
LINEAR: dict[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "shared_expert_intermediate_size": 8,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "tied": Qwen3Config(**SHAPE, tie_word_embeddings=True),
    "untied": Qwen2Config(**SHAPE, tie_word_embeddings=False),
    "llama": LlamaConfig(**SHAPE),
    "gpt2": GPT2Config(vocab_size=24, n_embd=16, n_layer=2, n_head=4, n_positions=32),
    "gemma2": Gemma2Config(**SHAPE, query_pre_attn_scalar=4),
    "experts": Qwen3MoeConfig(**SHAPE, **EXPERTS),
    "hybrid": Qwen3NextConfig(**SHAPE, **EXPERTS, **LINEAR),
}


def model_of(name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(CONFIGS[name], dtype=dtype)


def with_adapters(model: PreTrainedModel, **settings: Any) -> nn.Module:
    """Adapters whose update is not zero."""
    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return adapted


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_names_and_values_are_those_of_a_saved_model(name: str, is_loaded: bool, tmp_path: Path) -> None:
    model = model_of(name)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    if is_loaded:
        model = AutoModelForCausalLM.from_pretrained(tmp_path)
    found = list(named_weights(model))
    assert sorted(name for name, _ in found) == sorted(saved)
    for weight_name, tensor in found:
        assert not tensor.requires_grad
        assert torch.equal(tensor, saved[weight_name])


def test_the_order_is_that_of_the_layers_and_nothing_is_copied() -> None:
    model = model_of("tied")
    found = list(named_weights(model))
    assert [name for name, _ in found] == [name for name, _ in model.named_parameters()]
    assert "lm_head.weight" not in dict(found)
    assert [t.data_ptr() for _, t in found] == [p.data_ptr() for p in model.parameters()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["tied", "untied", "gpt2"])
def test_adapters_are_merged_as_peft_merges_them(name: str, dtype: torch.dtype) -> None:
    adapted = with_adapters(model_of(name, dtype), target_modules="all-linear")
    before = {key: value.clone() for key, value in adapted.state_dict().items()}
    found = {key: value.clone() for key, value in named_weights(adapted)}
    assert all(torch.equal(before[key], value) for key, value in adapted.state_dict().items())
    merged = adapted.merge_and_unload()
    expected = dict(named_weights(merged))
    assert list(found) == list(expected)
    changed = [key for key in found if not torch.equal(found[key], before_weight(before, key))]
    assert len(changed) >= 8
    for key, tensor in found.items():
        assert tensor.dtype == expected[key].dtype == dtype
        torch.testing.assert_close(tensor, expected[key])


def before_weight(state: dict[str, torch.Tensor], key: str) -> torch.Tensor:
    path, kind = key.rsplit(".", 1)
    prefix = "base_model.model."
    return state.get(f"{prefix}{path}.base_layer.{kind}", state.get(f"{prefix}{key}"))


def test_adapters_that_are_merged_already_are_not_added_again() -> None:
    adapted = with_adapters(model_of("untied"), target_modules=["q_proj"])
    expected = {key: value.clone() for key, value in named_weights(adapted)}
    adapted.merge_adapter()
    for key, tensor in named_weights(adapted):
        torch.testing.assert_close(tensor, expected[key])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "tied",
            {"target_modules": ["lm_head", "q_proj"]},
            "LoRA adapts only one of the tied weights model.embed_tokens.weight",
        ),
        ("untied", {"target_modules": ["embed_tokens"]}, "embed_tokens"),
        ("untied", {"target_modules": ["q_proj"], "use_dora": True}, "q_proj"),
        ("untied", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, "lm_head"),
        ("untied", {"target_modules": ["q_proj"], "lora_bias": True}, "q_proj"),
    ],
)
def test_adapters_that_cannot_be_merged_weight_by_weight_are_refused(name: str, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(named_weights(with_adapters(model_of(name), **settings)))


def test_an_adapted_head_of_its_own_is_merged() -> None:
    adapted = with_adapters(model_of("untied"), target_modules=["lm_head"])
    found = {key: value.clone() for key, value in named_weights(adapted)}
    expected = dict(named_weights(adapted.merge_and_unload()))
    torch.testing.assert_close(found["lm_head.weight"], expected["lm_head.weight"])
    assert (found["lm_head.weight"] - found["model.embed_tokens.weight"]).abs().max() > 0.1


def test_weights_that_are_saved_together_are_refused() -> None:
    model = model_of("llama")
    parts = [f"self_attn.{name}_proj.weight" for name in "qkv"]
    model._weight_conversions = [WeightConverter("self_attn.qkv_proj.weight", parts, operations=[Chunk(dim=0)])]
    with pytest.raises(ValueError, match="checkpoints of LlamaForCausalLM hold weights made of several"):
        named_weights(model)


def test_a_module_without_a_transformers_model_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear holds no transformers model"):
        named_weights(nn.Linear(2, 2))


@pytest.mark.parametrize("lora", [None, LoRAConfig(rank=2)])
def test_the_policy_names_its_weights(tiny_model: Path, lora: LoRAConfig | None) -> None:
    policy = Policy(PolicyConfig(str(tiny_model), lora=lora))
    saved = load_file(tiny_model / "model.safetensors")
    found = dict(policy.named_weights())
    assert found.keys() == saved.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, saved[name])
