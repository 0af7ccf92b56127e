"""Settings one changes in YAML or by a flag: each does what its name says, within the whole loop."""

import json
import math
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lit_rlvr.cli import main

TERM = "lit_rlvr.modules."


def data(**settings: Any) -> dict[str, Any]:
    return {"data": {"init_args": settings}}


def model(**settings: Any) -> dict[str, Any]:
    return {"model": {"init_args": settings}}


def largest_change(run: Any, start: dict[str, torch.Tensor]) -> float:
    return max(float((weight - start[name]).abs().max()) for name, weight in run.weights().items())


@pytest.fixture
def plain(lit_rlvr, small_rl):
    return lit_rlvr("rl", "fit", small_rl)


def test_bf16_keeps_engine_and_policy_close(lit_rlvr, small_rl, plain, start_weights):
    run = lit_rlvr("rl", "fit", small_rl, "--trainer.precision=bf16-mixed")
    gaps = run.history("train/rollout_gap_max")
    assert len(gaps) == 2
    assert all(0 < gap < 0.2 for gap in gaps)
    assert all(gap < 0.02 for gap in run.history("train/rollout_gap"))
    assert max(gaps) > 10 * max(plain.history("train/rollout_gap_max"))  # it does compute in bfloat16
    assert all(weight.dtype == torch.float32 for weight in run.weights().values())
    assert 0 < largest_change(run, start_weights) < 0.1


def test_weights_in_bf16(lit_rlvr, small_rl):
    run = lit_rlvr("rl", "fit", small_rl, "--model.init_args.policy.dtype=bfloat16")
    assert all(0 < gap < 0.2 for gap in run.history("train/rollout_gap_max"))
    assert all(norm > 0 and math.isfinite(norm) for norm in run.history("train/grad_norm"))
    assert {weight.dtype for weight in run.weights().values()} == {torch.bfloat16}


def test_lora_trains_adapters_and_exports_the_merged_model(lit_rlvr, small_rl, start_weights, tmp_path):
    terms = [{"class_path": f"{TERM}KLPenalty", "init_args": {"coefficient": 0.1}}]
    lora = {"path": small_rl["model"]["init_args"]["policy"]["path"], "lora": {"rank": 4, "alpha": 8}}
    run = lit_rlvr("rl", "fit", small_rl, model(policy=lora, terms=terms), "--trainer.enable_checkpointing=true")
    weights = run.weights()
    assert weights.keys() == start_weights.keys()
    changed = {name for name in weights if not torch.equal(weights[name], start_weights[name])}
    assert changed == {name for name in weights if name.endswith("proj.weight")}  # all linear layers but the head
    (checkpoint,) = run.folder.rglob("*.ckpt")
    assert main(["export", str(checkpoint), str(tmp_path / "exported")]) == 0
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    assert all(torch.equal(weight, exported[name]) for name, weight in weights.items())
    assert run.history("train/kl_penalty")[1] > 0  # the reference is the model without its adapters


def test_gradient_checkpointing_changes_nothing_but_the_memory(lit_rlvr, small_rl, plain):
    run = lit_rlvr("rl", "fit", small_rl, "--model.init_args.policy.gradient_checkpointing=true")
    assert run.history("train/grad_norm") == pytest.approx(plain.history("train/grad_norm"), rel=1e-4)
    for name, weight in run.weights().items():
        torch.testing.assert_close(weight, plain.weights()[name], atol=1e-4, rtol=0)


TERMS = {
    "k1": ("KLPenalty", {"coefficient": 1.0, "estimator": "k1"}, "kl_penalty"),
    "k2": ("KLPenalty", {"coefficient": 1.0, "estimator": "k2"}, "kl_penalty"),
    "k3": ("KLPenalty", {"coefficient": 1.0, "estimator": "k3"}, "kl_penalty"),
    "entropy": ("EntropyBonus", {"coefficient": 0.1}, "entropy_bonus"),
    "positives": ("PositiveNLL", {"coefficient": 0.5}, "positive_nll"),
}


@pytest.mark.parametrize("name", TERMS)
def test_every_term_contributes(lit_rlvr, small_rl, name):
    term, settings, metric = TERMS[name]
    rewards = data(rewards={"digits": {"class_path": "reward_cases.EnoughDigits", "init_args": {"share": 0.2}}})
    without = lit_rlvr("rl", "fit", small_rl, rewards)
    run = lit_rlvr("rl", "fit", small_rl, rewards, model(terms=[{"class_path": TERM + term, "init_args": settings}]))
    values = run.history(f"train/{metric}")
    assert len(values) == 2
    assert math.isfinite(values[1])
    assert values[1] != 0
    assert any(not torch.equal(weight, without.weights()[key]) for key, weight in run.weights().items())


def test_overlong_completions_are_penalized_or_left_out(lit_rlvr, small_rl, plain):
    overlong = {"class_path": "lit_rlvr.rewards.OverlongPenalty", "init_args": {"max_tokens": 10, "buffer": 4}}
    run = lit_rlvr("rl", "fit", small_rl, data(rewards={"overlong": overlong}))
    penalty, truncated = run.history("reward/overlong")[0], run.history("rollout/truncated")[0]
    assert -1 <= penalty <= -truncated < 0
    dropping = lit_rlvr("rl", "fit", small_rl, {"data": {"init_args": {"iteration": {"drop_truncated": True}}}})
    assert 0 < dropping.history("rollout/truncated")[0] < 1
    assert dropping.history("train/grad_norm")[0] != plain.history("train/grad_norm")[0]
    rows = [row for row in rollouts(dropping, 0) if row["finish_reason"] == "length"]
    assert rows
    assert {row["advantage"] for row in rows} == {0.0}
    assert all(row["reward"] is not None for row in rows)  # judged and logged, not trained on


def rollouts(run: Any, iteration: int) -> list[dict[str, Any]]:
    file = run.log_dir() / f"rollouts/iteration_{iteration:06d}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_dynamic_sampling_refills_what_the_accuracy_filter_drops(lit_rlvr, small_rl):
    """Groups of two are often all right or all wrong: further rounds replace them."""
    filters = [{"class_path": "lit_rlvr.rollout.filters.MixedAccuracyFilter"}]
    rewards = {"digits": {"class_path": "reward_cases.EnoughDigits", "init_args": {"share": 0.3}}}
    sizes = {"group_size": 2, "num_prompts": 4, "max_rounds": 12, "num_mini_batches": 1}
    run = lit_rlvr("rl", "fit", small_rl, data(filters=filters, rewards=rewards, iteration=sizes))
    assert run.history("rollout/groups_kept") == [4, 4]
    assert 1 < max(run.history("rollout/rounds")) <= 12
    for iteration in (0, 1):
        rows = rollouts(run, iteration)
        assert len(rows) == 2 * run.history("rollout/groups_generated")[iteration]
        mixed = {r["prompt_id"] for r in rows if r["is_correct"]} & {r["prompt_id"] for r in rows if not r["is_correct"]}
        assert {r["prompt_id"] for r in rows if r["advantage"] != 0} == mixed


def test_cosine_schedule_per_step_and_per_iteration(lit_rlvr, small_rl):
    def fit(interval: str, total: int) -> list[float]:
        schedule = {"class_path": f"{TERM}CosineToMinimum", "init_args": {"total_steps": total, "min_ratio": 0.5}}
        run = lit_rlvr("rl", "fit", small_rl, model(lr_scheduler=schedule, lr_scheduler_interval=interval))
        return run.history("train/learning_rate")

    # The mean rate of each iteration's two steps: 0.75 + 0.25 cos(pi t / 4) of the full one at t = 0, 1, 2, 3.
    assert fit("step", 4) == pytest.approx([0.96339 * 3e-3, 0.66161 * 3e-3], rel=1e-4)
    assert fit("epoch", 2) == pytest.approx([1.0 * 3e-3, 0.75 * 3e-3])


def test_settings_of_a_layer_and_a_flag_win_over_the_layers_below(lit_rlvr, small_rl):
    run = lit_rlvr("rl", "fit", small_rl, data(iteration={"group_size": 2}), "--data.init_args.iteration.num_prompts=3")
    assert len(rollouts(run, 0)) == 6
