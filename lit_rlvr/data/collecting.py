"""Which groups an iteration trains on: generate, leave out, filter, refill, compare within the group."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch

from lit_rlvr.advantages import AdvantageEstimator
from lit_rlvr.data.prompt_stream import ShuffledStream
from lit_rlvr.data.settings import IterationConfig
from lit_rlvr.rollout.collector import survivors
from lit_rlvr.rollout.filters import GroupFilter
from lit_rlvr.rollout.statistics import rollout_statistics
from lit_rlvr.types import Prompt, RolloutGroup


@dataclass(frozen=True)
class CollectedGroups:
    """What was generated for an iteration, and what of it is trained on."""

    seen: list[RolloutGroup]
    """Every group, as it was judged."""
    kept: list[RolloutGroup]
    """The groups to train on: without completions that are left out, with advantages."""
    rounds: int

    def statistics(self) -> dict[str, float]:
        """Return the statistics of the rollouts, and what the filters left of them.

        `rollout/groups_filtered` is the share of the generated groups that are not trained on: filtered, or surplus of a round.
        """
        counts = {
            "groups_generated": len(self.seen),
            "groups_kept": len(self.kept),
            "groups_filtered": 1 - len(self.kept) / len(self.seen),
            "rounds": self.rounds,
        }
        return rollout_statistics(self.seen) | {f"rollout/{name}": float(count) for name, count in counts.items()}

    def with_advantages(self) -> list[RolloutGroup]:
        """Return every group, with advantages on the completions that are trained on and 0 on the others."""
        trained = {id(r.completion): r for group in self.kept for r in group.rollouts}
        return [replace(group, rollouts=tuple(trained.get(id(r.completion), r) for r in group.rollouts)) for group in self.seen]


def collect_groups(
    generate: Callable[[Sequence[Prompt], Sequence[int]], list[RolloutGroup]],
    stream: ShuffledStream[Prompt],
    config: IterationConfig,
    filters: Sequence[GroupFilter],
    advantages: AdvantageEstimator,
) -> CollectedGroups:
    """Generate groups until `config.num_prompts` pass the filters or `config.max_rounds` are used up (dynamic sampling).

    An iteration that stays short is trained on as it is: the loss weights count what is there. An empty one is reported, and its
    optimizer steps are skipped.

    `generate` is given prompts, and how often each of them was drawn before in this iteration.
    """
    kept: list[RolloutGroup] = []
    seen: list[RolloutGroup] = []
    draws: dict[str, count[int]] = defaultdict(count)
    rounds = 0
    while len(kept) < config.num_prompts and rounds < config.max_rounds:
        prompts = stream.draw(config.prompts_per_round or config.num_prompts - len(kept))
        groups = generate(prompts, [next(draws[prompt.id]) for prompt in prompts])
        candidates = [survivors(group, config.drop_truncated) for group in groups]
        kept += [group for group in candidates if group.rollouts and all(f.keep(group) for f in filters)]
        seen += groups
        rounds += 1
    if not kept:
        message = f"none of the {len(seen)} groups of this iteration can be trained on; its optimizer steps are skipped"
        warnings.warn(message, stacklevel=2)
    return CollectedGroups(seen, [_compared(group, advantages) for group in kept[: config.num_prompts]], rounds)


def _compared(group: RolloutGroup, estimator: AdvantageEstimator) -> RolloutGroup:
    """Return the group with the advantage of each completion. Every completion must have been judged."""
    values = estimator(torch.tensor(group.rewards)).tolist()
    return replace(group, rollouts=tuple(replace(r, advantage=a) for r, a in zip(group.rollouts, values, strict=True)))
