"""Prompt order: each pass sees every row once, in a new order, and can be picked up anywhere."""

import pytest

from lit_rlvr.data.prompt_stream import ShuffledStream


def test_each_pass_is_a_new_permutation_across_boundaries() -> None:
    stream = ShuffledStream(range(10), seed=0)
    drawn = [row for size in (4, 7, 9, 10) for row in stream.draw(size)]
    passes = [drawn[i : i + 10] for i in (0, 10, 20)]
    assert all(sorted(rows) == list(range(10)) for rows in passes)
    assert len({tuple(rows) for rows in passes}) == 3


def test_the_count_of_drawn_rows_is_the_whole_state() -> None:
    straight = ShuffledStream(range(10), seed=3)
    straight.draw(17)
    resumed = ShuffledStream(range(10), seed=3)
    resumed.drawn = 17
    assert resumed.draw(25) == straight.draw(25)


def test_one_draw_may_take_several_passes() -> None:
    assert sorted(ShuffledStream("ab", seed=0).draw(6)) == ["a", "a", "a", "b", "b", "b"]


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no rows"):
        ShuffledStream([], seed=0)
