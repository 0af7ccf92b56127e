from collections.abc import Callable, Sequence

import pytest

from lit_rlvr.types import Completion, FinishReason, LogprobSemantics, Prompt, Rollout, RolloutGroup


@pytest.fixture
def make_group() -> Callable[..., RolloutGroup]:
    """Make a scored group: rewards (None for an error), and optionally lengths and which members were truncated."""

    def make(
        name: str, rewards: Sequence[float | None], lengths: Sequence[int] | None = None, truncated: Sequence[int] = ()
    ) -> RolloutGroup:
        prompt = Prompt(name, ({"role": "user", "content": "?"},), token_ids=(5, 6, 7))
        rollouts = []
        for member, reward in enumerate(rewards):
            size = lengths[member] if lengths else 3
            tokens = tuple(range(8, 8 + size))
            reason: FinishReason = "length" if member in truncated else "stop"
            completion = Completion(tokens, (-0.5,) * size, reason, semantics=LogprobSemantics(temperature=0.9))
            rollouts.append(Rollout(prompt, completion, reward, is_correct=reward == 1.0))
        return RolloutGroup(prompt, tuple(rollouts))

    return make
