"""Judged groups as plain values, for checkpoints: tensors, numbers and strings, loadable with `weights_only=True`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from lit_rlvr.data.collecting import CollectedGroups
from lit_rlvr.types import Completion, LogprobSemantics, Prompt, Rollout, RolloutGroup, Verdict


def stored(collected: CollectedGroups) -> dict[str, Any]:
    """Return the groups without their prompts, of which only the ids are kept."""
    kept = {id(rollout.completion): rollout.advantage for group in collected.kept for rollout in group.rollouts}
    groups = [
        (group.prompt.id, [_stored_rollout(rollout, kept.get(id(rollout.completion))) for rollout in group.rollouts])
        for group in collected.seen
    ]
    return {"groups": groups, "rounds": collected.rounds}


def restored(state: Mapping[str, Any], prompts: Sequence[Prompt]) -> CollectedGroups:
    """Rebuild what `stored` returned from the prompts that the ids are those of.

    Raises:
        ValueError: a prompt is not among them.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    seen, kept = [], []
    for prompt_id, rows in state["groups"]:
        if prompt_id not in by_id:
            raise ValueError(
                f"the checkpoint holds completions of prompt {prompt_id!r}, which data.train does not have any more: resume with the "
                "problems that the run was started with"
            )
        prompt = by_id[prompt_id]
        rollouts = [_restored_rollout(row, prompt) for row in rows]
        trained = [replace(r, advantage=row["advantage"]) for r, row in zip(rollouts, rows, strict=True) if row["is_kept"]]
        seen.append(RolloutGroup(prompt, tuple(rollouts)))
        kept += [RolloutGroup(prompt, tuple(trained))] if trained else []
    return CollectedGroups(seen, kept, state["rounds"])


def _stored_rollout(rollout: Rollout, advantage: float | None) -> dict[str, Any]:
    completion = asdict(rollout.completion) | {
        "token_ids": torch.tensor(rollout.completion.token_ids, dtype=torch.int32),
        # Python's floats, which tensors of float64 keep exactly.
        "logprobs": torch.tensor(rollout.completion.logprobs, dtype=torch.float64),
        "token_versions": torch.tensor(rollout.completion.token_versions, dtype=torch.int64),
    }
    return {
        "completion": completion,
        "reward": rollout.reward,
        "is_correct": rollout.is_correct,
        "verdicts": {name: (verdict.score, verdict.detail) for name, verdict in rollout.verdicts.items()},
        "is_kept": advantage is not None,
        "advantage": advantage,
    }


def _restored_rollout(row: Mapping[str, Any], prompt: Prompt) -> Rollout:
    values = dict(row["completion"])
    values |= {name: tuple(values[name].tolist()) for name in ("token_ids", "logprobs", "token_versions")}
    completion = Completion(**values | {"semantics": LogprobSemantics(**values["semantics"])})
    verdicts = {name: Verdict(*verdict) for name, verdict in row["verdicts"].items()}
    return Rollout(prompt, completion, row["reward"], row["is_correct"], verdicts)
