"""From the building of an engine to its end: which settings it takes, and that there is one at a time."""

import gc
import threading
from pathlib import Path

import pytest
import torch
from engine_cases import PARAMS, largest_gap, make_engine, make_policy, make_prompts, make_seeds, optimize

from lit_rlvr.rollout.engine import SamplingParams

PROMPTS = make_prompts(6, 40)
SEEDS = make_seeds(2, 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sleep_while_training": True}, "sleep_while_training"),
        ({"extra": {"seed": 3}}, r"extra\.seed cannot be set"),
        ({"extra": {"max_num_batched_token": 3}}, "did you mean max_num_batched_tokens"),
        ({"tensor_parallel_size": 2}, "multiple of 2 training processes"),
        ({"max_model_len": 4096}, r"data\.engine.*max_model_len"),
        ({"kv_cache_gb": 0.0001}, "kv_cache_gb.*cache blocks"),
    ],
)
def test_settings_that_cannot_be_are_refused(tiny_tied: Path, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_engine(**settings).update_weights(make_policy(tiny_tied), 1)
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_model_len", 0),
        ("bucket_mb", -1),
        ("gpu_memory_utilization", 1.5),
        ("compare_logprobs_every", -1),
        ("kv_cache_gb", 0),
    ],
)
def test_sizes_are_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*got {value}"):
        make_engine(**{name: value})


def test_engines_follow_each_other(tiny_tied: Path, tiny_untied: Path) -> None:
    policy, other_policy = make_policy(tiny_tied), make_policy(tiny_untied)
    engine, other = make_engine(), make_engine(extra={"max_num_batched_tokens": 1024})
    engine.update_weights(policy, 1)
    expected = engine.generate(PROMPTS, PARAMS, SEEDS, [])
    with pytest.raises(RuntimeError, match="another VLLMEngine of this process is alive"):
        other.update_weights(other_policy, 1)
    assert engine.generate(PROMPTS, PARAMS, SEEDS, []) == expected
    engine.close()
    engine.close()
    assert engine.weight_version == -1
    assert not torch.distributed.is_initialized()
    with pytest.raises(ValueError, match="call update_weights before"):
        engine.generate(PROMPTS, PARAMS, SEEDS, [])
    other.update_weights(other_policy, 1)
    assert largest_gap(other_policy, PROMPTS, other.generate(PROMPTS, PARAMS, SEEDS, [])) < 1e-4
    del other  # forgotten without close()
    engine.update_weights(policy, 1)
    assert engine.generate(PROMPTS, PARAMS, SEEDS, []) == expected
    engine.close()
    assert gc.get_freeze_count() == 0


def test_float64_and_a_narrow_engine(tiny_tied: Path) -> None:
    exact = make_policy(tiny_tied, dtype="float64")
    with pytest.raises(ValueError, match="float64"):
        make_engine().update_weights(exact, 1)
    engine = make_engine(dtype="float32", max_num_seqs=4)
    try:
        engine.update_weights(exact, 1)
        assert largest_gap(exact, PROMPTS, engine.generate(PROMPTS, PARAMS, SEEDS, [])) < 1e-4
        done, results = [], []
        engine.on_completion = lambda *_: done.append(1)
        params = SamplingParams(max_tokens=40)
        thread = threading.Thread(target=lambda: results.append(engine.generate(PROMPTS, params, make_seeds(2, 60), [])))
        thread.start()
        while not done:
            threading.Event().wait(0.002)
        optimize(exact)
        engine.update_weights(exact, 2)
        finished_by_then = len(done)
        thread.join(120)
    finally:
        engine.close()
    assert finished_by_then < 100, "the update waited for the queue"
    assert {c.weight_version for group in results[0] for c in group} == {1, 2}
