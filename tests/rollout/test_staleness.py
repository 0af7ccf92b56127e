"""How old tokens are: by hand."""

from lit_rlvr.rollout.statistics import staleness_statistics, token_versions
from lit_rlvr.types import Completion, Prompt, Rollout, RolloutGroup


def group(*completions: Completion) -> RolloutGroup:
    prompt = Prompt("p", ())
    return RolloutGroup(prompt, tuple(Rollout(prompt, completion, 1.0, True) for completion in completions))


def completion(num_tokens: int, version: int, *token_versions: int) -> Completion:
    return Completion((5,) * num_tokens, (-1.0,) * num_tokens, "stop", version, token_versions=token_versions)


def test_every_token_counts_with_the_version_that_generated_it() -> None:
    groups = [group(completion(3, 4), completion(4, 4, 4, 4, 8, 8)), group(completion(2, 8))]
    assert token_versions(groups) == {4: 5, 8: 4}


def test_staleness_is_counted_from_the_start_of_the_iteration() -> None:
    # Five tokens of version 4 and four of version 8, when the policy is at 12: five are 8 steps old, four are 4.
    assert staleness_statistics({4: 5, 8: 4}, {0: 0, 1: 4, 2: 8, 3: 12}, 3) == {
        "rollout/staleness_mean": (5 * 8 + 4 * 4) / 9,
        "rollout/staleness_max": 8.0,
        "rollout/staleness_iterations": 2.0,
    }


def test_a_version_from_within_an_iteration_belongs_to_it() -> None:
    assert staleness_statistics({6: 1}, {1: 4, 2: 8}, 2)["rollout/staleness_iterations"] == 1.0
    assert staleness_statistics({8: 1}, {1: 4, 2: 8}, 2) == {
        "rollout/staleness_mean": 0.0,
        "rollout/staleness_max": 0.0,
        "rollout/staleness_iterations": 0.0,
    }


def test_iterations_without_optimizer_steps_make_nothing_stale() -> None:
    # The policy stayed at version 4 through iterations 1 and 2: its tokens are as fresh as can be.
    assert staleness_statistics({4: 7}, {1: 4, 2: 4}, 2)["rollout/staleness_iterations"] == 0.0
