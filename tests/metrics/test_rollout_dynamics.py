"""Rollout dynamics: every value by hand, and no trace of how groups were dealt out."""

import math

import pytest
from dynamics_cases import make_group, random_groups
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_rlvr.data.collecting import CollectedGroups
from lit_rlvr.metrics import RolloutDynamics
from lit_rlvr.rollout.statistics import rollout_statistics

LOOP = "wait " * 24  # 5 20-grams, all the same: 4 of 5 occurred before
FRESH = " ".join(map(str, range(30)))


def by_hand():
    return [
        make_group("mixed", [1.0, 0.0, 0.5], [FRESH, LOOP, "short"], truncated=[1], lengths=[10, 40, 20]),
        make_group("errors", [None, 1.0], [LOOP, LOOP], truncated=[0, 1], lengths=[50, 30]),
        make_group("none", [0.0, 0.0], lengths=[5, 5]),
        make_group("unjudged", [None], lengths=[80]),
    ]


def test_every_value_by_hand():
    shares = dict.fromkeys(("pass_rate_1_25", "pass_rate_51_75", "pass_rate_76_99"), 0.0)
    shares |= dict.fromkeys(("pass_rate_0", "pass_rate_26_50", "pass_rate_100"), 1 / 3)
    expected = shares | {
        "reward": 2.5 / 6,
        "accuracy": 2 / 6,
        "errors": 2 / 8,
        "length": 240 / 8,
        "length_correct": 40 / 2,
        "length_wrong": 70 / 4,
        "truncated": 3 / 8,
        "truncated_correct": 1 / 2,
        "truncated_wrong": 1 / 4,
        "repetition": 3 * 0.8 / 8,
        "repetition_correct": 0.8 / 2,
        "repetition_wrong": 0.8 / 4,
        "pass_rate": (1 / 3 + 1 + 0) / 3,
        "solved_by_none": 1 / 3,
        "solved_by_all": 1 / 3,
        # Rewards 1, 0, 0.5 deviate by 0.5 (G - 1 = 2: sqrt(0.5 / 2)); two equal ones by 0; single ones do not count.
        "reward_std": (0.5 + 0) / 2,
    }
    expected = {f"rollout/{name}": value for name, value in expected.items()} | {"reward/exact": 2.5 / 6}
    assert rollout_statistics(by_hand()) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("right", "size", "name"),
    [
        *((0, 8, "0"), (1, 8, "1_25"), (2, 8, "1_25"), (3, 8, "26_50"), (4, 8, "26_50"), (5, 8, "51_75"), (6, 8, "51_75")),
        *((7, 8, "76_99"), (8, 8, "100"), (1, 1, "100"), (0, 1, "0"), (1, 3, "26_50"), (2, 3, "51_75"), (999, 1000, "76_99")),
    ],
)
def test_bounds_of_the_histogram(right, size, name):
    values = rollout_statistics([make_group("a", [1.0] * right + [0.0] * (size - right))])
    assert {key for key, value in values.items() if key.startswith("rollout/pass_rate_") and value} == {
        f"rollout/pass_rate_{name}"
    }
    assert values[f"rollout/pass_rate_{name}"] == 1.0
    assert values["rollout/pass_rate"] == pytest.approx(right / size)


def test_soft_rewards_do_not_make_an_answer_right():
    values = rollout_statistics([make_group("a", [1.0, 0.9, 0.9, 1.2], correct=[True, False, False, True])])
    assert values["rollout/accuracy"] == values["rollout/pass_rate"] == 0.5
    assert values["rollout/reward"] == 1.0
    assert values["rollout/reward_std"] == pytest.approx(math.sqrt((0 + 0.01 + 0.01 + 0.04) / 3))


def test_what_does_not_occur_has_no_name():
    assert rollout_statistics([]) == {}
    unjudged = rollout_statistics([make_group("a", [None, None], truncated=[0])])
    assert unjudged == {"rollout/errors": 1.0, "rollout/length": 3.0, "rollout/truncated": 0.5, "rollout/repetition": 0.0}
    right = rollout_statistics([make_group("a", [1.0, 1.0])])
    assert "rollout/length_correct" in right
    assert not [name for name in right if name.endswith("_wrong")]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_ranks_and_updates_leave_no_trace(seed, places):
    groups = random_groups(len(places), seed)
    together = RolloutDynamics(["exact"])
    for place in range(4):
        together.update([group for group, its_place in zip(groups, places, strict=True) if its_place == place])
    whole = RolloutDynamics(["exact"])
    whole.update(groups)
    assert together.compute() == pytest.approx(whole.compute(), rel=1e-12)
    restored = RolloutDynamics(["exact"])
    restored.load_global_state(together.global_state())
    assert restored.compute() == together.compute()
    assert rollout_statistics(groups) == whole.compute()


def test_an_unknown_reward_function_is_refused():
    with pytest.raises(ValueError, match=r"unknown statistics \['reward/exact'\]"):
        RolloutDynamics(["format"]).update(by_hand())
    with pytest.raises(ValueError, match="must differ"):
        RolloutDynamics(["format", "format"])


@pytest.mark.parametrize(("num_seen", "num_kept", "filtered"), [(4, 3, 0.25), (2, 2, 0.0), (5, 0, 1.0)])
def test_the_share_of_groups_that_are_not_trained_on(num_seen, num_kept, filtered):
    groups = random_groups(num_seen)
    statistics = CollectedGroups(groups, groups[:num_kept], rounds=2).statistics()
    assert statistics["rollout/groups_filtered"] == filtered
    assert statistics["rollout/groups_kept"] == num_kept
    assert statistics.items() >= rollout_statistics(groups).items()
