"""The engine with a model of its own: the same completions, weights that move on an update only, and nothing of the trainer's touched."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_policies import CONFIGS, TinyPolicy, prompts_of_lengths, seed_grid, tiny_model

from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.types import LogprobSemantics

PROMPTS = prompts_of_lengths(9, 4, 12, 4)
PARAMS = SamplingParams(max_tokens=16, temperature=0.9)
SEEDS = seed_grid(4, 3)


def engine_for(policy, device="cpu", version=0, **settings):
    engine = EmbeddedEngine(device=device, **settings)
    engine.update_weights(policy, version)
    return engine


def generate(engine, params=PARAMS):
    return [completion for group in engine.generate(PROMPTS, params, SEEDS, [3]) for completion in group]


def tokens(completions):
    return [completion.token_ids for completion in completions]


def moved(model, factor=1.05):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"qwen3_next"}))
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_completions_are_those_of_the_trainers_module(name, precision):
    policy = TinyPolicy(tiny_model(name), precision)
    expected, found = generate(engine_for(policy, None)), generate(engine_for(policy))
    assert tokens(found) == tokens(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-6)


def test_weights_in_half_precision_stay_so():
    policy = TinyPolicy(tiny_model("qwen3").to(torch.bfloat16))
    engine = engine_for(policy)
    assert {p.dtype for p in engine._weights.model.parameters()} == {torch.bfloat16}
    assert generate(engine) == generate(engine_for(policy, None))


def test_weights_that_are_more_precise_than_the_others_stay_so():
    model = tiny_model("qwen3").to(torch.bfloat16)
    model.model.norm.float().weight.data.mul_(1.001)
    copy = engine_for(TinyPolicy(model))._weights.model
    assert copy.model.norm.weight.dtype == torch.float32
    assert torch.equal(copy.model.norm.weight, model.model.norm.weight)
    assert copy.lm_head.weight is copy.model.embed_tokens.weight
    assert copy.lm_head.weight.dtype == torch.bfloat16


def test_autocast_multiplies_matrices_that_need_no_conversion():
    policy = TinyPolicy(tiny_model("qwen2"), torch.bfloat16)
    copy = engine_for(policy)._weights.model
    assert copy.lm_head.weight.dtype == copy.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
    assert copy.model.embed_tokens.weight.dtype == copy.model.norm.weight.dtype == torch.float32
    tied = engine_for(TinyPolicy(tiny_model("qwen3"), torch.bfloat16))._weights.model
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    assert tied.lm_head.weight.dtype == torch.float32


def test_only_an_engine_with_its_own_copy_can_overlap():
    assert [(e.can_overlap, e.can_update_midway) for e in (EmbeddedEngine(), EmbeddedEngine(device="cpu"))] == [
        (False, False),
        (True, True),
    ]


def test_the_copy_moves_on_an_update_only():
    policy = TinyPolicy(tiny_model("qwen3"))
    engine = engine_for(policy, version=4)
    before = generate(engine)
    moved(policy.model)
    assert generate(engine) == before
    engine.update_weights(policy, 5)
    after = generate(engine)
    assert tokens(after) == tokens(generate(engine_for(policy, None)))
    assert tokens(after) != tokens(before)
    assert [{c.weight_version for c in run} for run in (before, after)] == [{4}, {5}]
    assert all(c.token_versions == () for c in before + after)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_completions_tell_what_their_logprobs_are_those_of(device):
    params = SamplingParams(max_tokens=4, temperature=0.5, top_p=0.9, top_k=7)
    found = generate(engine_for(TinyPolicy(tiny_model("qwen3")), device), params)
    assert {c.semantics for c in found} == {LogprobSemantics(0.5, 0.9, 7)}


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_adapters_are_merged_into_the_copy(precision):
    model = get_peft_model(tiny_model("qwen3"), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    policy = TinyPolicy(model, precision)
    found = generate(engine_for(policy))
    told = policy.token_logprobs([p.token_ids for p in PROMPTS for _ in range(3)], tokens(found), PARAMS.temperature)
    for completion, expected in zip(found, told, strict=True):
        # Under autocast the merged matrix is rounded once, the two parts of the sum one by one.
        assert completion.logprobs == pytest.approx(expected, abs=1e-4 if precision is None else 0.3)
    with model.disable_adapter():
        assert tokens(generate(engine_for(policy, None))) != tokens(found)


def test_weights_that_are_saved_under_other_names_are_refused_for_good():
    engine = EmbeddedEngine(device="cpu")
    with pytest.raises(ValueError, match="Qwen3NextForCausalLM has no such weight"):
        engine.update_weights(TinyPolicy(tiny_model("qwen3_next")), 0)
    with pytest.raises(ValueError, match="call update_weights before generate"):
        generate(engine)


def test_an_update_that_failed_is_not_generated_from():
    policy = TinyPolicy(tiny_model("qwen3"))
    engine = engine_for(policy)
    with pytest.raises(ValueError, match=r"q_proj.weight of shape \(32, 32\), and the engine's"):
        engine.update_weights(TinyPolicy(tiny_model("qwen2")), 1)
    with pytest.raises(ValueError, match="their last update failed"):
        generate(engine)
    engine.update_weights(policy, 2)
    assert tokens(generate(engine)) == tokens(generate(engine_for(policy, None)))


def test_building_the_copy_draws_no_random_numbers():
    policy, state = TinyPolicy(tiny_model("qwen3")), torch.get_rng_state()
    engine_for(policy)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_a_thread_that_generates_leaves_the_trainer_alone(precision):
    """All of it while the trainer is in the middle of a forward under autocast, whose casts all threads share."""
    model = tiny_model("qwen3").train()
    policy = TinyPolicy(model, precision)
    engine = engine_for(policy)
    attention, seen = model.config._attn_implementation, []

    def look(*_):
        seen.append((all(m.training for m in model.modules()), model.config._attn_implementation))
        # Several architectures do so around what must stay precise.
        with torch.autocast("cpu", enabled=False):
            pass

    engine._weights.model.register_forward_pre_hook(look)
    weight, x = torch.nn.Parameter(torch.ones(4, 4)), torch.ones(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        first = torch.mm(x, weight)
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(generate, engine).result()
        second = torch.mm(x, weight)
        assert torch.is_autocast_enabled("cpu")
    casts = [{node for node, _ in y.grad_fn.next_functions if node is not None} for y in (first, second)]
    assert casts[0] & casts[1], "the cast of the weight was forgotten"
    assert seen
    assert set(seen) == {(True, attention)}
    assert torch.is_grad_enabled()
    with nullcontext() if precision is None else torch.autocast("cpu", precision):
        assert tokens(found) == tokens(generate(engine_for(policy, None)))


def test_close_lets_go_of_the_copy():
    policy = TinyPolicy(tiny_model("qwen3"))
    engine = engine_for(policy)
    before = generate(engine)
    engine.close()
    with pytest.raises(ValueError, match="call update_weights before generate"):
        generate(engine)
    engine.update_weights(policy, 0)
    assert generate(engine) == before
