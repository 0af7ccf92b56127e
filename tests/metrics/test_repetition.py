"""Repetition rate of words and tokens."""

import doctest

import pytest

from lit_rlvr.metrics import repetition, repetition_rate, text_repetition_rate


def test_doctests():
    results = doctest.testmod(repetition)
    assert results.attempted > 0
    assert results.failed == 0


def test_distinct_items_do_not_repeat():
    assert repetition_rate(range(100)) == 0.0


def test_a_loop_repeats_nearly_everything():
    # 200 items hold 181 20-grams, of which a loop of length 3 has 3 distinct ones.
    assert repetition_rate([0, 1, 2] * 66 + [0, 1]) == pytest.approx((181 - 3) / 181)


def test_too_short_sequences_count_as_zero():
    assert repetition_rate([1] * 19) == 0.0
    assert repetition_rate([1] * 20) == 0.0
    assert repetition_rate([1] * 21) == 0.5
    assert text_repetition_rate("") == 0.0


def test_words_are_compared_without_case():
    assert text_repetition_rate("Wait. wait.\nWAIT. wait", n=1) == pytest.approx(0.5)


def test_n_must_be_positive():
    with pytest.raises(ValueError, match="got 0"):
        repetition_rate([1], n=0)
