"""Which distribution log-probs are those of: what may share a batch, and what may be compared with the policy."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from lightning.pytorch import LightningDataModule

from lit_rlvr.data import PromptFormat, RolloutDataModule
from lit_rlvr.data.collate import collate_rollouts
from lit_rlvr.rewards import ExactAnswer
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout_correction import TruncatedImportanceSampling
from lit_rlvr.tasks import AdditionPrompts
from lit_rlvr.types import Completion, LogprobSemantics, Prompt, Rollout


def rollouts(*semantics: LogprobSemantics) -> Sequence[Rollout]:
    return [
        Rollout(
            Prompt(f"p{i}", (), token_ids=(5, 6)),
            Completion((7, 8), (-0.5, -0.25), "stop", semantics=one),
            1.0,
            is_correct=True,
        )
        for i, one in enumerate(semantics)
    ]


def test_what_was_sampled_plainly_has_a_gap() -> None:
    batch = collate_rollouts(rollouts(LogprobSemantics(), LogprobSemantics()), temperature=1.0)
    assert batch.is_gap_defined
    assert batch.temperature == 1.0


@pytest.mark.parametrize("semantics", [LogprobSemantics(0.7, top_p=0.9), LogprobSemantics(0.7, top_k=20)])
def test_truncated_sampling_has_none(semantics: LogprobSemantics) -> None:
    batch = collate_rollouts(rollouts(semantics), temperature=0.7)
    assert not batch.is_gap_defined
    assert not batch.rows(batch.is_correct.nonzero()[:, 0]).is_gap_defined


@pytest.mark.parametrize(
    "other",
    [LogprobSemantics(1.1), LogprobSemantics(top_p=0.9), LogprobSemantics(top_k=5), LogprobSemantics(is_processed=False)],
)
def test_log_probs_of_two_distributions_share_no_batch(other: LogprobSemantics) -> None:
    with pytest.raises(ValueError, match=r"must be those of one distribution.*'p0'.*'p2'"):
        collate_rollouts(rollouts(LogprobSemantics(), LogprobSemantics(), other), temperature=1.0)


@pytest.mark.parametrize("changes", [{"temperature": 0.7}, {"top_p": 0.9}, {"top_k": 5}])
def test_raw_log_probs_of_something_else_than_was_sampled_are_refused(changes: dict[str, float]) -> None:
    semantics = replace(LogprobSemantics(is_processed=False), **changes)
    with pytest.raises(ValueError, match=r"another distribution than it sampled from.*processed_logprobs"):
        collate_rollouts(rollouts(semantics), temperature=semantics.temperature)


def test_raw_log_probs_of_plain_sampling_are_the_same_thing() -> None:
    assert collate_rollouts(rollouts(LogprobSemantics(is_processed=False)), temperature=1.0).is_gap_defined


def test_another_temperature_than_that_of_the_policy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'p0' at temperature 0\.7 but data\.sampling\.temperature is 1\.0"):
        collate_rollouts(rollouts(LogprobSemantics(0.7)), temperature=1.0)


def test_every_token_has_one_log_prob() -> None:
    whole, short = rollouts(LogprobSemantics(), LogprobSemantics())
    short = replace(short, completion=replace(short.completion, logprobs=(-0.5,)))
    with pytest.raises(ValueError, match="prompt 'p1' has 2 tokens but 1 log-probs"):
        collate_rollouts([whole, short], temperature=1.0)


def datamodule(sampling: SamplingParams) -> LightningDataModule:
    return RolloutDataModule(
        PromptFormat("unused"),
        AdditionPrompts("train", num=4),
        {"answer": ExactAnswer()},
        sampling=sampling,
        rollout_correction=TruncatedImportanceSampling(),
    )


@pytest.mark.parametrize("sampling", [SamplingParams(top_p=0.95), SamplingParams(top_k=20)])
def test_truncated_sampling_cannot_be_corrected(sampling: SamplingParams) -> None:
    with pytest.raises(ValueError, match=r"data\.rollout_correction cannot be used with data\.sampling"):
        datamodule(sampling)


def test_plain_sampling_at_any_temperature_can_be_corrected() -> None:
    assert datamodule(SamplingParams(temperature=0.7)) is not None
