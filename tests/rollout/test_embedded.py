"""The embedded engine against transformers: the same tokens when greedy, the log-probs of a full forward when sampling."""

from itertools import chain

import pytest
import torch
from tiny_policies import CONFIGS, PLAIN, VOCAB, TinyPolicy, prompts_of_lengths, seed_grid, tiny_model

from lit_rlvr.rollout.decoding import is_plain_full_attention
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.types import Prompt

NO_STOP: list[int] = []


def engine_for(model, precision=None, version=0, **settings) -> EmbeddedEngine:
    engine = EmbeddedEngine(**settings)
    engine.update_weights(TinyPolicy(model, precision), version)
    return engine


def teacher_forced(model, prompt, completion, params) -> torch.Tensor:
    """Log-probs of a completion from one full forward with the model's own attention, filters applied by their definition."""
    ids = torch.tensor([prompt.token_ids + completion.token_ids])
    with torch.no_grad():
        logits = model.eval()(ids, use_cache=False).logits[0, len(prompt.token_ids) - 1 : -1].float() / params.temperature
    if params.top_k:
        logits = logits.masked_fill(logits < logits.topk(params.top_k).values[:, -1:], -torch.inf)
    values, order = logits.sort(dim=-1, descending=True)
    probs = values.softmax(dim=-1)
    values = values.masked_fill(probs.cumsum(dim=-1) - probs >= params.top_p, -torch.inf)
    logprobs = torch.full_like(logits, -torch.inf).scatter(1, order, values).log_softmax(dim=-1)
    return logprobs.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_equals_transformers_generate(name):
    model = tiny_model(name).eval()
    prompts = prompts_of_lengths(9, 4, 12, 4, 1, 17)
    params = SamplingParams(max_tokens=16, temperature=0)
    groups = engine_for(model, version=3).generate(prompts, params, seed_grid(6, 2), NO_STOP)
    for prompt, group in zip(prompts, groups, strict=True):
        ids = torch.tensor([prompt.token_ids])
        expected = model.generate(ids, do_sample=False, max_new_tokens=16, pad_token_id=0)[0, ids.shape[1] :]
        for completion in group:
            assert completion.token_ids == tuple(expected.tolist())
            assert completion.logprobs == (0.0,) * 16
            assert (completion.finish_reason, completion.weight_version) == ("length", 3)


def test_plain_full_attention_is_told_from_the_rest():
    assert {name for name in CONFIGS if is_plain_full_attention(tiny_model(name))} == set(PLAIN)


@pytest.mark.parametrize("name", ["qwen3", "qwen2", "llama", "mistral_window", "qwen3_next"])
@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(max_tokens=14),
        SamplingParams(max_tokens=14, temperature=0.7),
        SamplingParams(max_tokens=14, temperature=1.3, top_p=0.9, top_k=20),
    ],
)
def test_logprobs_are_those_of_a_full_forward(name, params):
    model = tiny_model(name)
    prompts = prompts_of_lengths(3, 8, 8, 1)
    groups = engine_for(model).generate(prompts, params, seed_grid(4, 3), [5])
    for prompt, group in zip(prompts, groups, strict=True):
        for completion in group:
            expected = teacher_forced(model, prompt, completion, params)
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_own_attention_can_be_switched_off():
    model, prompts, params = tiny_model("qwen3"), prompts_of_lengths(5, 3, 5), SamplingParams(max_tokens=12)
    own = engine_for(model).generate(prompts, params, seed_grid(3, 4), [1])
    generic = engine_for(model, own_attention=False).generate(prompts, params, seed_grid(3, 4), [1])
    assert [[c.token_ids for c in g] for g in own] == [[c.token_ids for c in g] for g in generic]


@pytest.mark.parametrize("name", ["qwen3", "mistral_window"])
def test_a_completion_depends_on_its_prompt_and_seed_only(name):
    model, prompts, params = tiny_model(name), prompts_of_lengths(11, 2, 6, 6, 11), SamplingParams(max_tokens=20)
    seeds, stop = seed_grid(5, 4), [3, 4]
    together = engine_for(model).generate(prompts, params, seeds, stop)
    assert engine_for(model).generate(prompts, params, seeds, stop) == together
    assert len({c.token_ids for group in together for c in group}) > 17
    assert {c.finish_reason for group in together for c in group} == {"stop", "length"}
    crowded = engine_for(model, max_batch_size=3, max_prefill_tokens=12).generate(prompts, params, seeds, stop)
    backwards = engine_for(model, max_batch_size=7).generate(prompts[::-1], params, seeds[::-1], stop)[::-1]
    for p, prompt in enumerate(prompts):
        for g, seed in enumerate(seeds[p]):
            alone = engine_for(model).generate([prompt], params, [[seed]], stop)[0][0]
            for other in (together, crowded, backwards):
                assert other[p][g].token_ids == alone.token_ids
                assert other[p][g].logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_long_completions_outgrow_the_first_allocation(monkeypatch):
    monkeypatch.setattr("lit_rlvr.rollout.decoding.INITIAL_COLUMNS", 5)
    model, prompts, params = tiny_model("llama"), prompts_of_lengths(9, 2, 5, 7), SamplingParams(max_tokens=40)
    groups = engine_for(model, max_batch_size=5).generate(prompts, params, seed_grid(4, 3), [2])
    for prompt, group in zip(prompts, groups, strict=True):
        for completion in group:
            expected = teacher_forced(model, prompt, completion, params)
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_equal_prompts_are_prefilled_once_and_groups_may_differ_in_size():
    model = tiny_model("qwen3")
    first, second = prompts_of_lengths(6, 9)
    prefilled = []
    model.register_forward_pre_hook(lambda _, __, kwargs: prefilled.append(kwargs["input_ids"].shape), with_kwargs=True)
    twin = Prompt(id="twin", messages=(), token_ids=first.token_ids)
    groups = engine_for(model).generate([first, second, twin], SamplingParams(max_tokens=5), [[1, 2], [3], [1, 9, 4]], NO_STOP)
    assert [len(group) for group in groups] == [2, 1, 3]
    assert [tuple(shape) for shape in prefilled if shape[1] > 1] == [(2, 8)]
    assert groups[0][0] == groups[2][0]
    assert len({c.token_ids for c in (*groups[0], *groups[2])}) == 4


def test_sampling_frequencies_match_the_models_probabilities():
    model, prompt = tiny_model("qwen2"), prompts_of_lengths(6)[0]
    n = 4000
    group = engine_for(model, max_batch_size=1000).generate([prompt], SamplingParams(max_tokens=1), [list(range(n))], NO_STOP)[
        0
    ]
    counts = torch.tensor([c.token_ids[0] for c in group]).bincount(minlength=VOCAB).float()
    with torch.no_grad():
        expected = n * model(torch.tensor([prompt.token_ids])).logits[0, -1].softmax(dim=-1)
    likely = expected >= 5
    chi_square = ((counts - expected) ** 2 / expected)[likely].sum()
    assert float(chi_square) < 85  # 0.9999 quantile of 39 degrees of freedom
    assert likely.sum() > 10


def test_stop_tokens_end_a_completion_and_stay_in_it():
    model, prompts, params = tiny_model("qwen3"), prompts_of_lengths(6, 3), SamplingParams(max_tokens=25)
    free = engine_for(model).generate(prompts, params, seed_grid(2, 16), NO_STOP)
    stopped = engine_for(model).generate(prompts, params, seed_grid(2, 16), [7, 9])
    for whole, cut in zip(chain(*free), chain(*stopped), strict=True):
        ends = [i for i, token in enumerate(whole.token_ids) if token in (7, 9)]
        length = ends[0] + 1 if ends else 25
        assert cut.token_ids == whole.token_ids[:length]
        assert cut.finish_reason == ("stop" if ends else "length")
    assert {c.finish_reason for group in stopped for c in group} == {"stop", "length"}


def test_rows_join_a_cache_that_has_shrunk(monkeypatch):
    monkeypatch.setattr("lit_rlvr.rollout.decoding.INITIAL_COLUMNS", 3)
    model, prompts, params = tiny_model("qwen3"), prompts_of_lengths(6, 6, 5, 4, 3, 2), SamplingParams(max_tokens=30)
    crowded = engine_for(model, max_batch_size=8).generate(prompts, params, seed_grid(6, 4), [2, 3, 4])
    roomy = engine_for(model).generate(prompts, params, seed_grid(6, 4), [2, 3, 4])
    assert [[c.token_ids for c in g] for g in crowded] == [[c.token_ids for c in g] for g in roomy]
