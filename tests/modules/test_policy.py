"""The policy's log-probs against the model's own logits; reference, LoRA, precision, export."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from lit_rlvr.data.collate import collate_rollouts, stamp_weights
from lit_rlvr.modules import LoRAConfig, Policy, PolicyConfig
from lit_rlvr.modules.export import export_policy
from lit_rlvr.modules.loading import build_model
from lit_rlvr.types import Completion, LogprobSemantics, Prompt, Rollout, RolloutBatch


def rollout(prompt: list[int], completion: list[int], advantage: float = 1.0) -> Rollout:
    logprobs = tuple(-0.1 * (i + 1) for i in range(len(completion)))
    return Rollout(
        Prompt("p", ({"role": "user", "content": "x"},), token_ids=tuple(prompt)),
        Completion(tuple(completion), logprobs, "stop", semantics=LogprobSemantics(temperature=0.7)),
        reward=1.0,
        is_correct=True,
        advantage=advantage,
    )


@pytest.fixture
def batch() -> RolloutBatch:
    rollouts = [
        rollout([5, 6, 7], [8, 9, 10, 11], 1.0),
        rollout([12, 13], [14, 15], -0.5),
        rollout([5], [6, 7, 8, 9, 10, 11], 2.0),
    ]
    return stamp_weights(collate_rollouts(rollouts, temperature=0.7), "token-mean")


def logprobs_of(model: torch.nn.Module, row: list[int], temperature: float) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([row])).logits.float() / temperature
    return torch.log_softmax(logits[0, :-1], -1).gather(-1, torch.tensor(row)[1:, None])[:, 0]


@pytest.mark.parametrize("chunk_size", [1, 3, 1000])
def test_logprobs_and_entropy_are_those_of_the_models_logits(tiny_model: Path, batch: RolloutBatch, chunk_size: int) -> None:
    policy = Policy(PolicyConfig(str(tiny_model), chunk_size=chunk_size))
    scores = policy(batch.input_ids, batch.attention_mask, batch.loss_mask, temperature=0.7)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    for i, (prompt, completion) in enumerate([([5, 6, 7], [8, 9, 10, 11]), ([12, 13], [14, 15]), ([5], [6, 7, 8, 9, 10, 11])]):
        row = prompt + completion
        expected = logprobs_of(model, row, 0.7)[len(prompt) - 1 :]
        torch.testing.assert_close(scores.logprobs[i, len(prompt) : len(row)], expected, atol=1e-5, rtol=0)
        logits = model(input_ids=torch.tensor([row])).logits[0, len(prompt) - 1 : -1] / 0.7
        entropy = torch.distributions.Categorical(logits=logits).entropy()
        torch.testing.assert_close(scores.entropy[i, len(prompt) : len(row)], entropy, atol=1e-5, rtol=0)
    assert (scores.logprobs[~batch.loss_mask] == 0).all()
    assert (scores.entropy[~batch.loss_mask] == 0).all()


def test_the_gradient_reaches_every_parameter(tiny_model: Path, batch: RolloutBatch) -> None:
    policy = Policy(PolicyConfig(str(tiny_model)))
    policy(batch.input_ids, batch.attention_mask, batch.loss_mask).logprobs.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())


def test_checkpointing_changes_memory_not_gradients(tiny_model: Path, batch: RolloutBatch) -> None:
    gradients = []
    for checkpointing in (False, True):
        policy = Policy(PolicyConfig(str(tiny_model), gradient_checkpointing=checkpointing)).train()
        policy(batch.input_ids, batch.attention_mask, batch.loss_mask).logprobs.sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)


def test_a_loss_on_the_first_column_is_refused(tiny_model: Path, batch: RolloutBatch) -> None:
    policy = Policy(PolicyConfig(str(tiny_model)))
    with pytest.raises(ValueError, match="first token of a row has no prediction"):
        policy(batch.input_ids, batch.attention_mask, torch.ones_like(batch.loss_mask))


def test_score_fills_in_old_and_reference_logprobs(tiny_model: Path, batch: RolloutBatch) -> None:
    policy = Policy(PolicyConfig(str(tiny_model)), with_reference=True)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.1)
    scored = policy.score(batch)
    fresh = Policy(PolicyConfig(str(tiny_model)))
    with torch.no_grad():
        now = policy(batch.input_ids, batch.attention_mask, batch.loss_mask, 0.7).logprobs
        initial = fresh(batch.input_ids, batch.attention_mask, batch.loss_mask, 0.7).logprobs
    torch.testing.assert_close(scored.old_logprobs, now, atol=1e-5, rtol=0)
    torch.testing.assert_close(scored.ref_logprobs, initial, atol=1e-5, rtol=0)
    assert not torch.allclose(now, initial, atol=1e-3)
    assert not any("reference" in name for name in policy.state_dict())


def test_lora_trains_adapters_and_its_reference_is_the_frozen_model(tiny_model: Path, batch: RolloutBatch) -> None:
    config = PolicyConfig(str(tiny_model), lora=LoRAConfig(rank=4), gradient_checkpointing=True)
    policy = Policy(config, with_reference=True).train()
    trained = [name for name, p in policy.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    scored = policy.score(batch)
    plain = Policy(PolicyConfig(str(tiny_model)))
    torch.testing.assert_close(scored.ref_logprobs, plain.score(batch).old_logprobs, atol=1e-5, rtol=0)
    assert (scored.old_logprobs - scored.ref_logprobs).abs().max() > 1e-2
    policy(batch.input_ids, batch.attention_mask, batch.loss_mask).logprobs.sum().backward()
    assert all(p.grad is not None for p in policy.parameters() if p.requires_grad)


@pytest.mark.parametrize("lora", [None, LoRAConfig(rank=4)])
def test_an_exported_folder_gives_the_same_logprobs(tiny_model: Path, tmp_path: Path, lora: LoRAConfig | None) -> None:
    policy = Policy(PolicyConfig(str(tiny_model), lora=lora))
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    export_policy(policy, tokenizer, str(tmp_path / "out"))
    assert list((tmp_path / "out").glob("*.safetensors"))
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    row = [5, 6, 7, 8, 9]
    mask = torch.tensor([[False, True, True, True, True]])
    with torch.no_grad():
        ours = policy(torch.tensor([row]), torch.ones_like(mask), mask).logprobs[0, 1:]
        theirs = logprobs_of(exported, row, 1.0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == tokenizer.chat_template


def test_export_writes_to_any_fsspec_url(tiny_model: Path) -> None:
    import fsspec

    policy = Policy(PolicyConfig(str(tiny_model)))
    export_policy(policy, AutoTokenizer.from_pretrained(tiny_model), "memory://exported/model")
    names = {Path(name).name for name in fsspec.filesystem("memory").ls("/exported/model", detail=False)}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names


def test_dropout_is_off_so_that_a_policy_agrees_with_itself(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2)).save_pretrained(tmp_path)
    policy = Policy(PolicyConfig(str(tmp_path))).train()
    ids = torch.arange(10)[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    scored = mask.clone()
    scored[:, 0] = False
    first, second = (policy(ids, mask, scored).logprobs for _ in range(2))
    assert torch.equal(first, second)
    policy.check_against_full_logits()


def test_random_initialization_is_seeded_and_leaves_the_global_state_alone(tiny_model: Path) -> None:
    config = PolicyConfig(str(tiny_model), random_init=True, init_seed=1)
    state = torch.get_rng_state()
    first, same, other = (build_model(c) for c in (config, config, replace(config, init_seed=2)))
    assert torch.equal(state, torch.get_rng_state())
    weights = [next(model.parameters()) for model in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_head_that_is_not_the_models_last_word_is_found_out(tiny_model: Path) -> None:
    policy = Policy(PolicyConfig(str(tiny_model)))
    policy.check_against_full_logits()
    original = policy.causal_lm.forward

    def soft_capped(*args: object, **kwargs: object) -> object:
        output = original(*args, **kwargs)
        output.logits = 2.0 * torch.tanh(output.logits / 2.0)
        return output

    policy.causal_lm.forward = soft_capped
    with pytest.raises(RuntimeError, match="differ from the model's own"):
        policy.check_against_full_logits()


def test_a_missing_model_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no model at '/nowhere/model'"):
        Policy(PolicyConfig("/nowhere/model"))
