"""The gap between engine and policy: known answers, bounds, the words of the alarm, and one definition with the training metrics."""

import math
import re
import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lit_rlvr.metrics.training_dynamics import TrainingDynamics
from lit_rlvr.rollout_gap import GapBounds, RolloutGapError
from lit_rlvr.types import RolloutBatch

MASK = torch.tensor([[False, True, True, True, False], [False, False, True, True, False]])
UNBOUNDED = GapBounds(warn=None, stop=None)


def batch_of(differences: list[float], **changes: object) -> RolloutBatch:
    """Rollouts whose `old - rollout` are these, token by token in the mask; what lies outside it is unusable."""
    old = torch.full(MASK.shape, -7.0, dtype=torch.float64)
    old[~MASK] = torch.nan
    engine = torch.full(MASK.shape, 5.0, dtype=torch.float64)
    engine[MASK] = old[MASK] - torch.tensor(differences, dtype=torch.float64)
    rows = torch.zeros(len(MASK))
    batch = RolloutBatch(
        input_ids=torch.arange(10).reshape(2, 5),
        attention_mask=MASK | True,
        loss_mask=MASK,
        advantages=MASK.float(),
        rewards=rows,
        is_correct=rows > 0,
        rollout_logprobs=engine,
        loss_weights=MASK.float(),
        positive_weights=MASK.float(),
        old_logprobs=old,
        stats={"rollout/reward": 0.5},
    )
    return replace(batch, **changes)


def gap_of(batch: RolloutBatch, bounds: GapBounds = UNBOUNDED) -> dict[str, float]:
    return {name.removeprefix("rollout/gap_"): value for name, value in bounds.check(batch).stats.items() if "gap" in name}


def test_the_statistics_are_those_worked_out_by_hand() -> None:
    # |d| = log of 2, 4, 1, 1, 8: e^|d| has the mean 16 / 5; k3 of d = log r is r - 1 - log r.
    ratios = [2.0, 0.25, 1.0, 1.0, 8.0]
    found = gap_of(batch_of([math.log(r) for r in ratios]))
    assert found == pytest.approx(
        {
            "exp": 16 / 5,
            "mean": math.log(2 * 4 * 8) / 5,
            "max": math.log(8),
            "k3": sum(r - 1 - math.log(r) for r in ratios) / 5,
            "nonfinite": 0,
        }
    )


def test_agreement_is_a_gap_of_exactly_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gap_of(batch_of([0.0] * 5), GapBounds(1.0, 1.0)) == {"exp": 1, "mean": 0, "max": 0, "k3": 0, "nonfinite": 0}


def test_other_statistics_stay() -> None:
    assert UNBOUNDED.check(batch_of([0.0] * 5)).stats["rollout/reward"] == 0.5


def test_it_is_the_gap_of_the_training_metrics() -> None:
    batch = batch_of([0.3, -40.0, 0.0, 1e-4, torch.inf])
    assert batch.old_logprobs is not None
    batch = replace(batch, old_logprobs=batch.old_logprobs.nan_to_num(0.0))
    dynamics = TrainingDynamics()
    dynamics.update_batch(batch, batch.old_logprobs, torch.zeros(MASK.shape), {})
    trained, found = dynamics.compute(), gap_of(batch)
    names = {"mean": "rollout_gap", "max": "rollout_gap_max", "k3": "kl_rollout_k3", "exp": "rollout_gap_exp"}
    assert {name: found[name] for name in names} == pytest.approx({name: trained[other] for name, other in names.items()})


def test_small_gaps_keep_their_divergence() -> None:
    """In single precision `e^d - d - 1` of 1e-4 is rounding: 5e-9 next to 1."""
    assert gap_of(batch_of([1e-4] * 5))["k3"] == pytest.approx(0.5e-8, rel=1e-3)


@pytest.mark.parametrize("missing", [{"is_gap_defined": False}, {"loss_mask": torch.zeros_like(MASK)}])
def test_where_there_is_no_gap_nothing_is_measured(missing: dict[str, object]) -> None:
    batch = batch_of([9.0] * 5, **missing)
    assert GapBounds().check(batch).stats == {"rollout/reward": 0.5}


def test_the_training_metrics_know_no_gap_of_truncated_sampling() -> None:
    batch = batch_of([9.0] * 5, is_gap_defined=False)
    assert batch.old_logprobs is not None
    dynamics = TrainingDynamics()
    dynamics.update_batch(batch, batch.old_logprobs.nan_to_num(0.0) + 0.5, torch.zeros(MASK.shape), {})
    found = dynamics.compute()
    assert found["ratio"] == pytest.approx(math.exp(0.5))
    assert not [name for name in found if "rollout" in name]


def test_above_the_warning_it_warns_and_goes_on() -> None:
    batch = batch_of([math.log(1.2)] * 4 + [-math.log(1.7)])
    with pytest.warns(UserWarning, match=r"of 1\.3 .*data\.gap_bounds\.warn=1\.05") as caught:
        assert gap_of(batch, GapBounds())["exp"] == pytest.approx(1.3)
    message = str(caught[0].message)
    # The worst is the last token in the mask: row 1, column 3, which is token 8, the second of its completion.
    assert "token 8 in row 1, column 3 (token 1 of its completion)" in message
    assert re.search(r"engine says -6\.469\d*, the policy -7\b", message)
    for word in ("other weights", "temperature", "softmax(logits)", "precision", "lit-rlvr doctor", "data.rollout_correction"):
        assert word in message


def test_it_warns_once_per_crossing() -> None:
    near, far = batch_of([0.0] * 5), batch_of([0.5] * 5)
    before: dict[str, float] = {}
    warned = []
    for batch in (near, far, far, near, far):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            before = dict(GapBounds().check(batch, before).stats)
        warned.append(len(caught))
    assert warned == [0, 1, 0, 0, 1]


def test_above_the_stop_it_stops() -> None:
    with pytest.raises(RolloutGapError, match=r"data\.gap_bounds\.stop=2\.0.*row 0, column 1"):
        GapBounds().check(batch_of([math.log(2.1)] * 5))
    assert gap_of(batch_of([math.log(2.1)] * 5), GapBounds(warn=None, stop=2.2))["exp"] == pytest.approx(2.1)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_a_token_without_a_finite_difference_is_above_every_bound(broken: float) -> None:
    batch = batch_of([0.0, 0.0, broken, 0.0, 3.0])
    with pytest.raises(RolloutGapError, match=r"1 of them not finite.*row 0, column 3"):
        GapBounds(warn=None, stop=1e10).check(batch)
    with pytest.warns(UserWarning, match="not finite"):
        found = gap_of(batch, GapBounds(warn=1e10, stop=None))
    assert found["nonfinite"] == 1
    assert all(math.isfinite(value) for value in found.values())
    assert found["max"] == (3 if math.isnan(broken) else 20)


def test_nothing_but_undefined_differences_is_reported_too() -> None:
    assert gap_of(batch_of([torch.nan] * 5)) == {"exp": 0, "mean": 0, "max": 0, "k3": 0, "nonfinite": 5}


def test_the_batch_stays_without_gradient_and_in_its_precision() -> None:
    batch = batch_of([0.1] * 5)
    checked = UNBOUNDED.check(batch)
    assert isinstance(checked.old_logprobs, Tensor)
    assert checked.old_logprobs is batch.old_logprobs


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"warn": 0.9}, "gap_bounds.warn must be at least 1"),
        ({"stop": math.nan}, "gap_bounds.stop must be at least 1"),
        ({"warn": 3.0}, "warn=3.0 is above stop=2.0"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(bounds: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        GapBounds(**bounds)


def test_an_unscored_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="must score it"):
        GapBounds().check(batch_of([0.0] * 5, old_logprobs=None))
