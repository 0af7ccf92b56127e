"""Training dynamics: every value by hand, the directions of the divergences, what is left out."""

import math

import pytest
import torch
from dynamics_cases import STATISTICS, make_batch

from lit_rlvr.metrics import TrainingDynamics
from lit_rlvr.objectives import CISPO, GRPO, ObjectiveInputs

LOG2, LOG3 = math.log(2), math.log(3)


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def by_hand():
    """Three responses with 3, 1 and 1 tokens and advantages 1, -2 and 0; column 0 is the prompt."""
    mask = torch.tensor([[False, True, True, True], [False, True, False, False], [False, True, False, False]])
    advantages = double([[0, 1, 1, 1], [0, -2, 0, 0], [0, 0, 0, 0]])
    ratio = double([[9, 2, 0.5, 0.5], [9, 1.5, 9, 9], [9, 1, 9, 9]])
    old_over_engine = double([[9, 1, 1, 2], [9, 0.5, 9, 9], [9, 1, 9, 9]])
    ref_over_policy = double([[9, 1, 1, 1], [9, 1, 9, 9], [9, 3, 9, 9]])
    old = double([[-1, -2, -3, -4], [-5, -6, -7, -8], [-1, -2, -3, -4]])
    logprobs = old + ratio.log()
    weights = double([[9, 1, 1, 2], [9, 0.5, 9, 9], [9, 1, 9, 9]])
    batch = make_batch(mask, advantages, old, old - old_over_engine.log(), logprobs + ref_over_policy.log(), weights)
    statistics = {
        "clip_fraction_low": double([[1, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 1]]),
        "clip_fraction_high": double([[1, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]]),
        "dual_clip_fraction_negative": double([[1, math.nan, math.nan, math.nan], [1, 0.25, 1, 1], [1, math.nan, 1, 1]]),
    }
    metric = TrainingDynamics(STATISTICS)
    metric.update_batch(batch, logprobs, double([[9, 1, 2, 3], [9, 4, 9, 9], [9, 5, 9, 9]]), statistics)
    metric.update_gradient(double([[0, 0, 1e-30, -1], [0, math.nan, 0, 0], [0, 0, 0, 0]]), mask)
    return metric


def test_every_value_by_hand():
    assert by_hand().compute() == pytest.approx(
        {
            "entropy": 3.0,
            "entropy_positive": 2.0,
            "entropy_negative": 4.0,
            "ratio": (2 + 0.5 + 0.5 + 1.5 + 1) / 5,
            "ratio_max": 2.0,
            "ratio_positive": 1.0,
            "ratio_negative": 1.5,
            "response_ratio": (1 + 1.5 + 1) / 3,
            "response_ratio_positive": 1.0,
            "response_ratio_negative": 1.5,
            "kl_old_k1": -(LOG2 - LOG2 - LOG2 + math.log(1.5)) / 5,
            "kl_old_k3": 1.1 - 1 - (-LOG2 + math.log(1.5)) / 5,  # the mean of r - 1 - log r
            "kl_ref_k1": -LOG3 / 5,
            "kl_ref_k3": (3 - 1 - LOG3) / 5,
            "kl_rollout_k1": 0.0,
            "kl_rollout_k3": (2 - 1 - LOG2 + 0.5 - 1 + LOG2) / 5,
            "rollout_gap": 2 * LOG2 / 5,
            "rollout_gap_max": LOG2,
            "rollout_gap_exp": (1 + 1 + 2 + 2 + 1) / 5,
            "rollout_weight": (1 + 1 + 2 + 0.5 + 1) / 5,
            "zero_advantage_share": 1 / 5,
            "zero_gradient_share": 2 / 5,
            "clip_fraction_low": 1 / 5,
            "clip_fraction_low_positive": 0.0,
            "clip_fraction_low_negative": 1.0,
            "clip_fraction_high": 1 / 5,
            "clip_fraction_high_positive": 1 / 3,
            "clip_fraction_high_negative": 0.0,
            "dual_clip_fraction_negative": 0.25,
        },
        rel=1e-12,
        abs=1e-15,
    )


def test_divergences_are_exact_on_tokens_in_proportion_to_the_distribution_they_come_from():
    """Ten tokens of three kinds, as often as one distribution says: their mean is an expectation under it."""
    p, q = double([0.5, 0.3, 0.2]), double([0.2, 0.3, 0.5])
    divergence = float((p * (p / q).log()).sum())
    kinds = torch.tensor([[0] * 5 + [1] * 3 + [2] * 2])
    of_p, of_q = p.log()[kinds], q.log()[kinds]
    mask, ones = torch.ones_like(kinds, dtype=torch.bool), torch.ones_like(of_p)

    def measure(logprobs, old, rollout, ref):
        metric = TrainingDynamics()
        metric.update_batch(make_batch(mask, ones, old, rollout, ref), logprobs, ones, {})
        return metric.compute()

    from_old = measure(of_q, of_p, of_p, of_q)
    from_engine = measure(of_q, of_q, of_p, of_q)
    from_policy = measure(of_p, of_p, of_p, of_q)
    for estimator in ("k1", "k3"):
        assert from_old[f"kl_old_{estimator}"] == pytest.approx(divergence, rel=1e-12)
        assert from_engine[f"kl_rollout_{estimator}"] == pytest.approx(divergence, rel=1e-12)
        assert from_policy[f"kl_ref_{estimator}"] == pytest.approx(divergence, rel=1e-12)


def one_row(logprobs, old, rollout, advantages=1.0):
    mask = torch.ones(1, len(logprobs), dtype=torch.bool)
    metric = TrainingDynamics()
    metric.update_batch(
        make_batch(mask, torch.full(mask.shape, advantages), torch.tensor([old]), torch.tensor([rollout])),
        torch.tensor([logprobs]),
        torch.zeros(mask.shape),
        {},
    )
    return metric.compute()


def test_log_ratios_are_limited_and_undefined_ones_left_out():
    inf, nan = math.inf, math.nan
    values = one_row([-1.0, -inf, -inf, nan], [-1.0, -1.0, -inf, -1.0], [-1.0, -inf, -1.0, nan])
    # Log-ratios of the policy: 0, -20 (limited), undefined, undefined. Of old to engine: 0, +20, -20, undefined.
    assert values["kl_old_k1"] == pytest.approx(10.0)
    assert values["ratio"] == values["response_ratio"] == pytest.approx((1 + math.exp(-20)) / 2)
    assert values["kl_rollout_k1"] == pytest.approx(0.0)
    assert values["rollout_gap_max"] == 20.0
    assert values["rollout_gap"] == pytest.approx(40 / 3)
    assert not [name for name, value in values.items() if not math.isfinite(value)]


def test_what_does_not_occur_has_no_name():
    positive = one_row([-1.0], [-1.0], [-1.0])
    assert "entropy_positive" in positive
    assert not [name for name in positive if name.endswith("_negative") or "ref" in name or "gradient" in name]
    assert "rollout_weight" not in positive
    neither = one_row([-1.0], [-1.0], [-1.0], advantages=0.0)
    assert not [name for name in neither if name.endswith(("_negative", "_positive"))]
    unknown = one_row([math.nan], [-1.0], [math.nan])
    assert set(unknown) == {"entropy", "entropy_positive", "zero_advantage_share"}


def test_a_batch_without_weight_counts_nothing():
    mask, zeros = torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 3)
    metric = TrainingDynamics(STATISTICS)
    metric.update_batch(make_batch(mask, zeros, zeros, zeros, zeros), zeros, zeros, dict.fromkeys(STATISTICS, zeros))
    metric.update_gradient(zeros, mask)
    assert metric.compute() == {}


def test_the_sign_of_a_response_is_that_of_its_mean_advantage():
    zeros, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    metric = TrainingDynamics()
    batch = make_batch(mask, torch.tensor([[-1.0, 3.0, -1.0], [1.0, -3.0, 1.0]]), zeros, zeros)
    metric.update_batch(batch, torch.tensor([[LOG2] * 3, [LOG3] * 3]), zeros, {})
    values = metric.compute()
    assert (values["response_ratio_positive"], values["response_ratio_negative"]) == pytest.approx((2, 3))
    assert (values["ratio_positive"], values["ratio_negative"]) == pytest.approx((8 / 3, 7 / 3))


def test_small_divergences_survive_single_precision():
    step = 2.0**-12  # exact in both precisions; k3 is step^2 / 2 = 3e-8, below the rounding of its terms in single precision
    values = one_row([-1.0 + step], [-1.0], [-1.0 - step])
    assert values["kl_old_k3"] == pytest.approx(math.expm1(step) - step, rel=1e-7)
    assert values["kl_rollout_k3"] == pytest.approx(step**2 / 2, rel=1e-3)


def test_a_backward_hook_counts_the_tokens_that_teach_nothing():
    """Advantage 1 and ratios 1, 2, 1/2 and an unknown one: GRPO clips the second, and the last is NaN, without gradient."""
    logprobs = torch.tensor([[0.0, LOG2, -LOG2, math.nan], [0.0, 0.0, 0.0, 0.0]]).requires_grad_()
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    advantages = torch.tensor([[1.0] * 4, [0.0] * 4])
    for objective, zeros in ((GRPO(), 2 + 2), (CISPO(), 1 + 2)):
        metric = TrainingDynamics(["clip_fraction_low", "clip_fraction_high"])
        seen = logprobs.view_as(logprobs)
        seen.register_hook(lambda gradient, metric=metric: metric.update_gradient(gradient, mask))
        loss, _ = objective(ObjectiveInputs(seen, torch.zeros(2, 4), advantages, mask))
        torch.where(mask, loss, 0.0).sum().backward()
        assert metric.compute() == {"zero_gradient_share": zeros / 6}


def test_names_are_checked():
    with pytest.raises(ValueError, match=r"\['entropy'\] are measured for every objective"):
        TrainingDynamics(["entropy"])
    given_by_the_objective = TrainingDynamics(["clip_fraction_low", "clip_fraction_low_positive"])
    assert given_by_the_objective.names.count("clip_fraction_low_positive") == 1
    zeros, mask = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"unknown token statistics \['new'\]"):
        TrainingDynamics().update_batch(make_batch(mask, zeros, zeros, zeros), zeros, zeros, {"new": zeros})
    with pytest.raises(ValueError, match="no old_logprobs"):
        TrainingDynamics().update_batch(make_batch(mask, zeros, None, zeros), zeros, zeros, {})
