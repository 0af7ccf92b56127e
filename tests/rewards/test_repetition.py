"""Repetition rate of words and tokens, and its penalty."""

import pytest

from lit_rlvr import metrics
from lit_rlvr.rewards import RepetitionPenalty
from lit_rlvr.rewards.repetition import repetition_rate, text_repetition_rate
from lit_rlvr.types import Completion, Prompt


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


def test_metrics_offer_the_same_functions():
    assert metrics.repetition_rate is repetition_rate
    assert metrics.text_repetition_rate is text_repetition_rate


def penalty(text: str, **settings: float) -> float:
    verdict = RepetitionPenalty(**settings)(Prompt("p1", ()), Completion((1,), (0.0,), "stop", text=text))
    return verdict.score


def test_the_penalty_is_the_share_of_repeated_words():
    # six bigrams, three distinct ones: ab, bc, ca
    assert penalty("a b c a b c a", n=2) == pytest.approx(-3 / 6)
    assert penalty("a b c d e f g", n=2) == 0.0
    assert penalty("", n=2) == 0.0
    assert penalty("wait " * 1000, factor=2.0) == pytest.approx(-2.0, abs=0.01)


def test_a_share_of_repetition_can_be_free():
    assert penalty("a b c a b c a", n=2, free_share=0.5) == 0.0
    assert penalty("a b c a b c a", n=2, free_share=0.25, factor=3.0) == pytest.approx(-3 * 0.25 / 0.75)


@pytest.mark.parametrize(
    ("settings", "name"), [({"n": 0}, "n must"), ({"free_share": 1.0}, "free_share"), ({"factor": 0.0}, "factor")]
)
def test_penalty_settings_that_cannot_be_meant_are_refused(settings, name):
    with pytest.raises(ValueError, match=name):
        RepetitionPenalty(**settings)
