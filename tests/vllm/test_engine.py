"""Sampling with vLLM in this process: what the log-probs are those of, what decides the tokens, and what is refused."""

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_cases import PARAMS, gaps, largest_gap, make_engine, make_policy, make_prompts, make_seeds

from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm import VLLMEngine
from lit_rlvr.rollout.vllm.isolation import randomness_kept
from lit_rlvr.types import LogprobSemantics, Prompt

PROMPTS = make_prompts(5, 40, 150)
SEEDS = make_seeds(3, 8)


@pytest.fixture(scope="module")
def policy(tiny_tied: Path) -> Policy:
    return make_policy(tiny_tied)


def seed_everything() -> None:
    np.random.seed(1)
    torch.manual_seed(1)


def draw() -> tuple[float, float]:
    return float(np.random.rand()), float(torch.rand(1))


@pytest.fixture(scope="module")
def built(policy: Policy) -> Iterator[tuple[VLLMEngine, tuple[float, float]]]:
    """An engine, and what is drawn from the global generators, seeded before it was built."""
    engine = make_engine()
    seed_everything()
    engine.update_weights(policy, 5)
    yield engine, draw()
    engine.close()


@pytest.fixture(scope="module")
def engine(built: tuple[VLLMEngine, tuple[float, float]]) -> VLLMEngine:
    return built[0]


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_logprobs_are_the_policys(engine: VLLMEngine, policy: Policy, temperature: float) -> None:
    groups = engine.generate(PROMPTS, replace(PARAMS, temperature=temperature), SEEDS, [])
    assert largest_gap(policy, PROMPTS, groups) < 1e-4
    assert {c.semantics for group in groups for c in group} == {LogprobSemantics(temperature)}
    assert {c.weight_version for group in groups for c in group} == {5}
    assert {c.token_versions for group in groups for c in group} == {()}


def test_more_prompt_tokens_than_one_step_takes(engine: VLLMEngine, policy: Policy) -> None:
    # vLLM's CPU build would fail on seeded requests whose prompt is computed in several steps.
    prompts = make_prompts(*range(560, 600, 4))
    groups = engine.generate(prompts, SamplingParams(max_tokens=4), make_seeds(10, 2), [])
    assert sum(len(prompt.token_ids) for prompt in prompts) > 4096
    assert largest_gap(policy, prompts, groups) < 1e-4


@pytest.mark.parametrize(("top_p", "top_k"), [(0.8, 0), (1.0, 5), (0.7, 12)])
def test_truncated_logprobs_are_renormalised(engine: VLLMEngine, policy: Policy, top_p: float, top_k: int) -> None:
    params = replace(PARAMS, temperature=0.9, top_p=top_p, top_k=top_k)
    groups = engine.generate(PROMPTS, params, SEEDS, [])
    assert all(c.semantics.is_truncated for group in groups for c in group)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for completion in group:
            ids = torch.tensor([[*prompt.token_ids, *completion.token_ids]])
            with torch.no_grad():
                logits = policy.model(input_ids=ids).logits[0, len(prompt.token_ids) - 1 : -1] / 0.9
            expected = [kept_logprob(row, token, top_p, top_k) for row, token in zip(logits, completion.token_ids, strict=True)]
            assert torch.allclose(torch.tensor(expected), torch.tensor(completion.logprobs), atol=1e-4)


def kept_logprob(logits: torch.Tensor, token: int, top_p: float, top_k: int) -> float:
    """Return the log-prob of a token among those kept: top-k first, then the smallest set that reaches top-p."""
    order = logits.argsort(descending=True)
    kept = order[:top_k] if top_k else order
    probs = logits[kept].softmax(dim=0)
    kept = kept[: int((probs.cumsum(0) - probs < top_p).sum())]
    assert token in kept.tolist(), "a token was sampled that is not among those kept"
    return float(logits[kept].log_softmax(dim=0)[kept.tolist().index(token)])


def test_greedy_is_the_embedded_engines(engine: VLLMEngine, policy: Policy) -> None:
    params = replace(PARAMS, temperature=0.0)
    embedded = EmbeddedEngine()
    embedded.update_weights(policy, 5)
    seeds = make_seeds(3, 1)
    ours, theirs = engine.generate(PROMPTS, params, seeds, [7]), embedded.generate(PROMPTS, params, seeds, [7])
    assert [group[0].token_ids for group in ours] == [group[0].token_ids for group in theirs]
    assert {logprob for group in ours for logprob in group[0].logprobs} == {0.0}
    assert ours[0][0].semantics == LogprobSemantics(temperature=0.0)


def test_seeds_decide_alone_or_in_a_batch(engine: VLLMEngine) -> None:
    together = engine.generate(PROMPTS, PARAMS, SEEDS, [])
    alone = engine.generate(PROMPTS[1:2], PARAMS, [[SEEDS[1][3]]], [])
    assert alone[0][0].token_ids == together[1][3].token_ids
    assert engine.generate(PROMPTS, PARAMS, SEEDS, []) == together
    assert len({completion.token_ids for completion in together[0]}) == 8


def test_large_seeds_and_equal_prompts(engine: VLLMEngine) -> None:
    same = [PROMPTS[0], replace(PROMPTS[0], id="twin")]
    first, second = engine.generate(same, PARAMS, [[2**63 - 1, 0], [2**63 - 1, 2**62]], [])
    assert first[0].token_ids == second[0].token_ids
    assert len({first[0].token_ids, first[1].token_ids, second[1].token_ids}) == 3


def test_stop_tokens_are_kept(engine: VLLMEngine) -> None:
    stops = set(range(0, 256, 12))
    completions = [c for group in engine.generate(PROMPTS, PARAMS, SEEDS, sorted(stops)) for c in group]
    for completion in completions:
        found = [token in stops for token in completion.token_ids]
        assert found == [False] * (len(found) - 1) + [completion.finish_reason == "stop"]
        assert len(completion.logprobs) == len(completion.token_ids)
        assert completion.finish_reason == "stop" or len(completion.token_ids) == PARAMS.max_tokens
    assert {c.finish_reason for c in completions} == {"stop", "length"}


def test_completions_are_told_once_and_early(engine: VLLMEngine) -> None:
    told, progress = {}, []

    def tell(prompt, member, completion):
        assert (prompt, member) not in told
        told[prompt, member] = completion, bool(progress and progress[-1][0] > 12)

    engine.on_completion, engine.on_progress = tell, lambda done, total: progress.append((done, total))
    try:
        groups = engine.generate(PROMPTS, PARAMS, SEEDS, list(range(0, 256, 12)))
    finally:
        engine.on_completion = engine.on_progress = None
    assert {place: completion for place, (completion, _) in told.items()} == {
        (p, g): completion for p, group in enumerate(groups) for g, completion in enumerate(group)
    }
    assert progress == [(done, 24) for done in range(1, 25)]
    lengths = [len(completion.token_ids) for completion, _ in told.values()]
    assert lengths == sorted(lengths), "a completion was held back until longer ones were finished"


def test_two_threads_generate_at_once(engine: VLLMEngine) -> None:
    expected = [engine.generate(PROMPTS[i : i + 1], PARAMS, SEEDS[i : i + 1], []) for i in range(2)]
    found: dict[int, list] = {}

    def work(i: int) -> None:
        found[i] = engine.generate(PROMPTS[i : i + 1], PARAMS, SEEDS[i : i + 1], [])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[c.token_ids for c in found[i][0]] for i in range(2)] == [[c.token_ids for c in groups[0]] for groups in expected]


def test_an_interrupted_call_leaves_nothing_behind(engine: VLLMEngine) -> None:
    def interrupt(prompt, member, completion):
        raise KeyboardInterrupt

    expected = engine.generate(PROMPTS, PARAMS, SEEDS, [])
    engine.on_completion = interrupt
    with pytest.raises(KeyboardInterrupt):
        engine.generate(PROMPTS, PARAMS, SEEDS, list(range(0, 256, 12)))
    engine.on_completion = None
    assert engine._instance.llm.llm_engine.get_num_unfinished_requests() == 0
    assert engine.generate(PROMPTS, PARAMS, SEEDS, []) == expected


def test_random_states_are_untouched(built: tuple[VLLMEngine, tuple[float, float]], engine: VLLMEngine, policy: Policy) -> None:
    seed_everything()
    expected = draw()
    assert built[1] == expected
    for action in (lambda: engine.generate(PROMPTS, PARAMS, SEEDS, []), lambda: engine.update_weights(policy, 5)):
        seed_everything()
        action()
        assert draw() == expected


def test_pythons_random_state_is_untouched() -> None:
    # By itself: in the tests every call of an annotated function draws from it, for the sake of beartype's checks.
    random.seed(1)
    expected = random.random()
    random.seed(1)
    with randomness_kept():
        random.random()
    assert random.random() == expected


def test_threads_and_grad_mode_are_untouched(engine: VLLMEngine) -> None:
    assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    engine.generate(PROMPTS[:1], PARAMS, [[1]], [])
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("prompt", "params", "seeds", "message"),
    [
        (Prompt("empty", ()), PARAMS, [[1]], "has no token_ids"),
        (make_prompts(600)[0], SamplingParams(64), [[1]], "max_model_len=640"),
        (Prompt("alien", (), token_ids=(3, 70_000)), PARAMS, [[1]], "outside the model's vocabulary"),
        (Prompt("negative", (), token_ids=(3, -1)), PARAMS, [[1]], "outside the model's vocabulary"),
        (PROMPTS[0], PARAMS, [[2**63]], "below 2\\*\\*63"),
        (PROMPTS[0], PARAMS, [[1], [2]], "one row per prompt"),
        (PROMPTS[0], SamplingParams(8, temperature=0.001), [[1]], "got 0.001"),
        (PROMPTS[0], SamplingParams(8, temperature=2.5), [[1]], "got 2.5"),
    ],
)
def test_what_vllm_cannot_sample_is_refused(
    engine: VLLMEngine, prompt: Prompt, params: SamplingParams, seeds: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine.generate([prompt], params, seeds, [])


def test_nothing_to_generate(engine: VLLMEngine) -> None:
    assert engine.generate([], PARAMS, [], []) == []
    assert engine.generate(PROMPTS[:1], PARAMS, [[]], []) == [[]]
    assert make_engine().generate([], PARAMS, [], []) == []


def test_weights_come_first() -> None:
    with pytest.raises(ValueError, match="call update_weights before"):
        make_engine().generate(PROMPTS, PARAMS, SEEDS, [])


def test_diverged_weights_are_told(engine: VLLMEngine, tiny_tied: Path, policy: Policy) -> None:
    broken = make_policy(tiny_tied)
    with torch.no_grad():
        broken.causal_lm.get_decoder().norm.weight.fill_(torch.nan)
    with pytest.raises((FloatingPointError, RuntimeError)):
        engine.update_weights(broken, 6)
    assert engine.weight_version == -1
    engine.update_weights(policy, 7)
    assert engine.weight_version == 7
    assert max(map(float, (gap.max() for gap in gaps(policy, PROMPTS, engine.generate(PROMPTS, PARAMS, SEEDS, []))))) < 1e-4
