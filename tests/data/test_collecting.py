"""Which groups reach the gradient: errors, filters, refill, and what is left when nothing is."""

from collections.abc import Callable, Sequence

import pytest

from lit_rlvr.advantages import GroupRelative
from lit_rlvr.data.collecting import CollectedGroups, collect_groups
from lit_rlvr.data.prompt_stream import ShuffledStream
from lit_rlvr.data.settings import IterationConfig
from lit_rlvr.rollout.filters import (
    AllZeroOrAllOneFilter,
    GroupFilter,
    MeanAccuracyFilter,
    MixedAccuracyFilter,
    ZeroAdvantageFilter,
)
from lit_rlvr.types import Prompt, RolloutGroup

MakeGroup = Callable[..., RolloutGroup]


def collect(groups: Sequence[RolloutGroup], filters: Sequence[GroupFilter] = (), **settings: object) -> CollectedGroups:
    """Collect from prompts whose groups are given, drawn in the order of the stream."""
    by_name = {group.prompt.id: group for group in groups}
    stream: ShuffledStream[Prompt] = ShuffledStream([group.prompt for group in groups], seed=0)
    config = IterationConfig(**({"num_prompts": len(groups)} | settings))
    return collect_groups(lambda prompts, draws: [by_name[p.id] for p in prompts], stream, config, filters, GroupRelative())


def advantages(collected: CollectedGroups) -> list[list[float]]:
    return [[r.advantage for r in group.rollouts] for group in collected.kept]


def test_errors_leave_advantages_and_rows(make_group: MakeGroup) -> None:
    collected = collect([make_group("a", [1.0, None, 0.0])])
    # Mean 0.5 and unbiased deviation sqrt(0.5) of the two judged rewards.
    assert advantages(collected) == [pytest.approx([0.7071, -0.7071], abs=1e-4)]
    assert collected.statistics()["rollout/errors"] == pytest.approx(1 / 3)
    assert collected.statistics()["rollout/reward"] == pytest.approx(0.5)


def test_a_group_of_errors_is_left_out(make_group: MakeGroup) -> None:
    collected = collect([make_group("a", [None, None]), make_group("b", [1.0, 0.0])])
    assert [group.prompt.id for group in collected.kept] == ["b"]


def test_the_overlong_filter_drops_truncated_completions_before_the_comparison(make_group: MakeGroup) -> None:
    group = make_group("a", [1.0, 0.0, 0.0], truncated=[2])
    assert len(collect([group]).kept[0].rollouts) == 3
    assert len(collect([group], drop_truncated=True).kept[0].rollouts) == 2


@pytest.mark.parametrize(
    ("group_filter", "kept"),
    [
        (ZeroAdvantageFilter(), {"mixed", "soft", "penalized"}),
        (MixedAccuracyFilter(), {"mixed", "lone"}),
        (AllZeroOrAllOneFilter(), {"mixed", "soft", "penalized"}),
        (MeanAccuracyFilter(max_accuracy=0.5), {"mixed", "soft", "penalized", "none"}),
    ],
)
def test_filters(make_group: MakeGroup, group_filter: GroupFilter, kept: set[str]) -> None:
    groups = [
        make_group("mixed", [1.0, 0.0, 0.0]),
        make_group("soft", [0.5, 0.25, 0.0]),
        make_group("penalized", [0.0, 0.0, -0.5]),
        make_group("none", [0.0, 0.0, 0.0]),
        make_group("all", [1.0, 1.0, 1.0]),
        make_group("lone", [1.0]),
    ]
    assert {group.prompt.id for group in collect(groups, [group_filter]).kept} == kept


def test_dynamic_sampling_refills_with_fresh_prompts(make_group: MakeGroup) -> None:
    groups = [make_group(f"g{i}", [1.0, 0.0] if i % 2 else [0.0, 0.0]) for i in range(40)]
    once = collect(groups, [ZeroAdvantageFilter()], num_prompts=8)
    refilled = collect(groups, [ZeroAdvantageFilter()], num_prompts=8, max_rounds=10)
    assert len(once.kept) < 8
    assert once.rounds == 1
    assert len(refilled.kept) == 8
    assert 1 < refilled.rounds <= 10
    assert len({group.prompt.id for group in refilled.seen}) == len(refilled.seen)


def test_refilling_stops_at_its_bound(make_group: MakeGroup) -> None:
    groups = [make_group(f"g{i}", [0.0, 0.0]) for i in range(10)] + [make_group("good", [1.0, 0.0])]
    with pytest.warns(UserWarning, match="none of the 6 groups") as record:
        collected = collect(groups[:10], [ZeroAdvantageFilter()], num_prompts=2, max_rounds=3)
    assert record
    assert collected.rounds == 3
    assert len(collected.seen) == 6


def test_surplus_groups_are_cut(make_group: MakeGroup) -> None:
    groups = [make_group(f"g{i}", [1.0, 0.0]) for i in range(10)]
    collected = collect(groups, num_prompts=4, prompts_per_round=10)
    assert len(collected.kept) == 4
    assert len(collected.seen) == 10


def test_the_log_shows_every_completion_with_the_advantage_it_was_trained_with(make_group: MakeGroup) -> None:
    collected = collect([make_group("a", [1.0, 0.0, None]), make_group("b", [0.0, 0.0])], [ZeroAdvantageFilter()])
    logged = {group.prompt.id: [r.advantage for r in group.rollouts] for group in collected.with_advantages()}
    assert logged["a"] == pytest.approx([0.7071, -0.7071, 0.0], abs=1e-4)
    assert logged["b"] == [0.0, 0.0]


def test_a_group_of_one_learns_nothing(make_group: MakeGroup) -> None:
    assert advantages(collect([make_group("a", [1.0])])) == [[0.0]]
