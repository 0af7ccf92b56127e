"""Weights on their way from the policy into vLLM: after training, of every kind, and while completions are in progress."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from engine_cases import PARAMS, gaps, largest_gap, make_engine, make_policy, make_prompts, make_seeds, optimize

from lit_rlvr.modules.loading import LoRAConfig
from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm import VLLMEngine

PROMPTS = make_prompts(6, 300)
"""The second has two full blocks of vLLM's cache: without them a cache that was not reset would not show."""
SEEDS = make_seeds(2, 8)


@pytest.fixture(scope="module")
def engine() -> Iterator[VLLMEngine]:
    engine = make_engine(bucket_mb=1, compare_logprobs_every=1)
    yield engine
    engine.close()


@pytest.mark.parametrize("ties_embeddings", [False, True])
def test_half_precision(engine: VLLMEngine, tiny_tied: Path, tiny_untied: Path, ties_embeddings: bool) -> None:
    policy = make_policy(tiny_tied if ties_embeddings else tiny_untied, dtype="bfloat16")
    for version in range(2):
        engine.update_weights(policy, version)
        mean = float(torch.cat(gaps(policy, PROMPTS, engine.generate(PROMPTS, PARAMS, SEEDS, []))).mean())
        assert 0 < mean < 0.05
        optimize(policy)
    stale = float(torch.cat(gaps(policy, PROMPTS, engine.generate(PROMPTS, PARAMS, SEEDS, []))).mean())
    assert stale > 5 * mean


def test_the_engine_computes_in_the_precision_of_autocast(engine: VLLMEngine, tiny_tied: Path) -> None:
    policy = make_policy(tiny_tied)
    policy.forward_context = lambda: torch.autocast("cpu", torch.bfloat16)
    engine.update_weights(policy, 0)
    assert engine._instance.llm.model_config.dtype == torch.bfloat16
    assert float(torch.cat(gaps(policy, PROMPTS, engine.generate(PROMPTS, PARAMS, SEEDS, []))).mean()) < 0.05


@pytest.mark.parametrize("ties_embeddings", [False, True])
def test_optimizer_steps_arrive(engine: VLLMEngine, tiny_tied: Path, tiny_untied: Path, ties_embeddings: bool) -> None:
    policy = make_policy(tiny_tied if ties_embeddings else tiny_untied)
    before = make_policy(tiny_tied if ties_embeddings else tiny_untied)
    for version in range(3):
        engine.update_weights(policy, version)
        groups = engine.generate(PROMPTS, PARAMS, SEEDS, [])
        assert largest_gap(policy, PROMPTS, groups) < 1e-4
        assert {c.weight_version for group in groups for c in group} == {version}
        optimize(policy)
    assert largest_gap(before, PROMPTS, groups) > 0.5, "the steps are too small to tell new weights from old ones"


def test_adapters_are_merged(engine: VLLMEngine, tiny_tied: Path) -> None:
    pytest.importorskip("peft")
    policy = make_policy(tiny_tied, lora=LoRAConfig(rank=4, alpha=8))
    plain = make_policy(tiny_tied)
    for version in range(2):
        engine.update_weights(policy, version)
        groups = engine.generate(PROMPTS, PARAMS, SEEDS, [])
        assert largest_gap(policy, PROMPTS, groups) < 1e-4
        optimize(policy)
    engine.update_weights(policy, 2)
    assert largest_gap(plain, PROMPTS, engine.generate(PROMPTS, PARAMS, SEEDS, [])) > 0.1


@pytest.fixture(scope="module")
def steady(engine: VLLMEngine, tiny_tied: Path) -> tuple[VLLMEngine, Policy, Policy]:
    """An engine of the first of two policies."""
    first, second = make_policy(tiny_tied), make_policy(tiny_tied)
    optimize(second)
    engine.update_weights(first, 1)
    return engine, first, second


def test_weights_change_while_completions_are_in_progress(steady: tuple[VLLMEngine, Policy, Policy]) -> None:
    engine, first, second = steady
    engine.update_weights(first, 1)
    prompts, seeds, stops = make_prompts(6, 140, 30), make_seeds(3, 12), list(range(4))
    finished, results = threading.Event(), []
    engine.on_completion = lambda *_: finished.set()
    params = SamplingParams(max_tokens=160, temperature=0.9)
    thread = threading.Thread(target=lambda: results.append(engine.generate(prompts, params, seeds, stops)))
    thread.start()
    assert finished.wait(60)
    engine.update_weights(second, 2)
    assert engine.weight_version == 2
    thread.join(120)
    engine.on_completion = None
    (groups,) = results
    of_first, of_second = gaps(first, prompts, groups), gaps(second, prompts, groups)
    completions = [completion for group in groups for completion in group]
    versions = [torch.tensor(c.token_versions or [c.weight_version] * len(c.token_ids)) for c in completions]
    for completion, token_versions, old, new in zip(completions, versions, of_first, of_second, strict=True):
        assert token_versions.tolist() == sorted(token_versions.tolist())
        assert completion.weight_version == token_versions[0]
        assert torch.where(token_versions == 1, old, new).max() < 1e-4
    changed = [v for v in versions if v[0] != v[-1]]
    assert len(changed) > 12
    assert sum(len(v) for v in changed) > 500
    assert torch.cat(of_first)[torch.cat(versions) == 2].max() > 0.5


def test_an_update_that_fails_stops_who_waits(steady: tuple[VLLMEngine, Policy, Policy], tiny_tied: Path) -> None:
    engine, first, _ = steady
    engine.update_weights(first, 1)
    broken = make_policy(tiny_tied)
    broken.named_weights = lambda: iter([*first.named_weights()][:-1])
    finished, failures = threading.Event(), []
    engine.on_completion = lambda *_: finished.set()

    def work() -> None:
        try:
            engine.generate(PROMPTS, SamplingParams(max_tokens=300), make_seeds(2, 20), list(range(4)))
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert finished.wait(60)
    with pytest.raises(RuntimeError, match=r"model\.norm\.weight"):
        engine.update_weights(broken, 2)
    thread.join(60)
    engine.on_completion = None
    assert len(failures) == 1
    assert "an update of the engine's weights failed" in str(failures[0])
    assert engine.weight_version == -1
    with pytest.raises(RuntimeError, match="failed"):
        engine.generate(PROMPTS, PARAMS, SEEDS, [])
    engine.update_weights(first, 3)
    assert largest_gap(first, PROMPTS, engine.generate(PROMPTS, PARAMS, SEEDS, [])) < 1e-4


def test_releasing_memory_changes_nothing_on_the_cpu(steady: tuple[VLLMEngine, Policy, Policy]) -> None:
    engine, first, _ = steady
    engine.update_weights(first, 4)
    engine.release_memory()
    assert engine.weight_version == 4
    assert len(engine.generate(PROMPTS, PARAMS, SEEDS, [])) == 2
