"""What generation must leave untouched, and what it must refuse."""

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from tiny_policies import VOCAB, TinyPolicy, prompts_of_lengths, seed_grid, tiny_model
from torch import nn

from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.types import Prompt

PARAMS = SamplingParams(max_tokens=8)


def generate(model, prompts, params=PARAMS, precision=None, **settings):
    engine = EmbeddedEngine(**settings)
    engine.update_weights(TinyPolicy(model, precision), 0)
    return engine.generate(prompts, params, seed_grid(len(prompts), 3), [])


def test_global_random_state_is_neither_read_nor_moved():
    model, prompts = tiny_model("qwen3"), prompts_of_lengths(4, 7)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = generate(model, prompts)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert generate(model, prompts) == first


def test_training_flags_attention_and_gradients_survive():
    model = tiny_model("qwen3").train()
    model.model.layers[1].eval()
    flags, attention = [m.training for m in model.modules()], model.config._attn_implementation
    ids = torch.tensor([[1, 2, 3, 4]])
    model(ids, labels=ids).loss.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    generate(model, prompts_of_lengths(4, 7))
    assert [m.training for m in model.modules()] == flags
    assert model.config._attn_implementation == attention
    model(ids, labels=ids).loss.backward()
    for parameter, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


def test_everything_is_put_back_after_an_exception():
    model = tiny_model("qwen3").train()
    attention = model.config._attn_implementation
    handle = model.model.layers[0].register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broken layer")))
    with pytest.raises(RuntimeError, match="broken layer"):
        generate(model, prompts_of_lengths(4))
    handle.remove()
    assert all(m.training for m in model.modules())
    assert model.config._attn_implementation == attention
    assert torch.is_grad_enabled()


def test_autocast_of_the_caller_keeps_its_gradients():
    model = tiny_model("llama").train()
    ids = torch.tensor([[1, 2, 3]])
    with torch.autocast("cpu", torch.bfloat16):
        generate(model, prompts_of_lengths(4), precision=torch.bfloat16)
        model(ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_dropout_is_off():
    model = tiny_model("gpt2").train()
    assert model.config.resid_pdrop > 0
    assert generate(model, prompts_of_lengths(5)) == generate(model, prompts_of_lengths(5))


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_bfloat16_logprobs_are_close_to_a_full_forward(weights):
    model = tiny_model("qwen3").to(weights)
    prompts = prompts_of_lengths(4, 9)
    autocast = torch.bfloat16 if weights == torch.float32 else None
    gaps = []
    for prompt, group in zip(prompts, generate(model, prompts, precision=autocast), strict=True):
        for completion in group:
            ids = torch.tensor([prompt.token_ids + completion.token_ids])
            with torch.no_grad(), TinyPolicy(model, autocast).forward_context():
                logits = model.eval()(ids).logits[0, len(prompt.token_ids) - 1 : -1].float()
            full = logits.log_softmax(dim=-1).gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
            gaps += (full - torch.tensor(completion.logprobs)).abs().tolist()
    assert sum(gaps) / len(gaps) < 0.1


def test_adapters_are_sampled_from():
    plain, prompts = tiny_model("qwen3"), prompts_of_lengths(4, 9)
    before = generate(plain, prompts)
    adapted = get_peft_model(plain, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=True))
    assert generate(adapted, prompts) == before
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter.data, generator=torch.Generator().manual_seed(0))
    changed = generate(adapted, prompts)
    assert changed != before
    ids = torch.tensor([prompts[0].token_ids + changed[0][0].token_ids])
    with torch.no_grad():
        full = adapted.eval()(ids).logits[0, 3:-1].log_softmax(dim=-1).gather(1, ids[0, 4:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(changed[0][0].logprobs), full, atol=1e-4, rtol=0)


def test_prompt_learning_adapters_are_refused():
    model = get_peft_model(tiny_model("qwen3"), PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    with pytest.raises(ValueError, match="LoRA"):
        EmbeddedEngine().update_weights(TinyPolicy(model), 0)


def test_an_attention_with_extras_is_refused_not_approximated():
    model = tiny_model("qwen3")
    model.model.layers[1].self_attn.sliding_window = 4
    with pytest.raises(ValueError, match=r"sliding_window.*own_attention"):
        generate(model, prompts_of_lengths(9))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (prompts_of_lengths(4, 121), r"'p1' has 121 tokens.*max_tokens=8.*max_position_embeddings=128"),
        ([Prompt(id="bare", messages=())], "'bare' has no token_ids"),
        ([Prompt(id="odd", messages=(), token_ids=(1, VOCAB))], "'odd'.*vocabulary of 40"),
    ],
)
def test_prompts_the_model_cannot_continue_are_refused(prompts, message):
    with pytest.raises(ValueError, match=message):
        generate(tiny_model("qwen3"), prompts)


def test_wrong_calls_are_refused():
    engine, (prompt,) = EmbeddedEngine(), prompts_of_lengths(3)
    assert engine.generate([], PARAMS, [], []) == []
    with pytest.raises(ValueError, match="update_weights"):
        engine.generate([prompt], PARAMS, [[1]], [])
    engine.update_weights(TinyPolicy(tiny_model("qwen3")), 1)
    assert engine.generate([prompt], PARAMS, [[]], []) == [[]]
    with pytest.raises(ValueError, match="1 prompts"):
        engine.generate([prompt], PARAMS, [[1], [2]], [])
    with pytest.raises(ValueError, match="-5"):
        engine.generate([prompt], PARAMS, [[-5]], [])
    with pytest.raises(ValueError, match="transformers"):
        engine.update_weights(TinyPolicy(nn.Linear(2, 2)), 2)
    with pytest.raises(ValueError, match="max_batch_size"):
        EmbeddedEngine(max_batch_size=0)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_weights_are_an_error_that_names_the_row(temperature):
    model = tiny_model("llama")
    model.get_input_embeddings().weight.data[7] = torch.nan
    poisoned = Prompt(id="poisoned", messages=(), token_ids=(1, 7, 2))
    healthy = Prompt(id="healthy", messages=(), token_ids=(1, 2, 3))
    with pytest.raises(FloatingPointError, match="'poisoned', member 0, token 0"):
        generate(model, [healthy, poisoned], SamplingParams(max_tokens=1, temperature=temperature))


def test_weights_are_the_trainers_own():
    model, prompts = tiny_model("qwen3"), prompts_of_lengths(5)
    engine = EmbeddedEngine()
    engine.update_weights(TinyPolicy(model), 4)
    before = engine.generate(prompts, PARAMS, [[1]], [])[0][0]
    model.load_state_dict(tiny_model("qwen3", seed=1).state_dict())
    engine.update_weights(TinyPolicy(model), 5)
    after = engine.generate(prompts, PARAMS, [[1]], [])[0][0]
    assert (before.weight_version, after.weight_version) == (4, 5)
    assert before.token_ids != after.token_ids
    engine.close()
    with pytest.raises(ValueError, match="update_weights"):
        engine.generate(prompts, PARAMS, [[1]], [])
