"""Random batches and groups for the tests of dynamics."""

import random
from dataclasses import replace

import torch

from lit_rlvr.types import Completion, Prompt, Rollout, RolloutBatch, RolloutGroup, Verdict

STATISTICS = ("clip_fraction_low", "clip_fraction_high", "dual_clip_fraction_negative")


def make_batch(mask, advantages, old, rollout, ref=None, rollout_weights=None):
    return RolloutBatch(
        input_ids=torch.zeros(mask.shape, dtype=torch.long),
        attention_mask=torch.ones_like(mask),
        loss_mask=mask,
        advantages=advantages,
        rewards=torch.zeros(len(mask)),
        is_correct=torch.zeros(len(mask), dtype=torch.bool),
        rollout_logprobs=rollout,
        loss_weights=mask / mask.sum().clamp(min=1),
        positive_weights=torch.zeros(mask.shape),
        old_logprobs=old,
        ref_logprobs=ref,
        rollout_weights=rollout_weights,
    )


def random_rows(num_rows, seed=0):
    """Rows of different lengths with a prompt in front: the batch, and what else an update is given."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 40, (num_rows,), generator=generator)
    shape = (num_rows, int(lengths.max()))
    columns = torch.arange(shape[1])
    prompts = torch.randint(1, 5, (num_rows, 1), generator=generator)
    mask = (columns >= prompts) & (columns < lengths[:, None])
    signs = torch.tensor([-1.5, 0.0, 0.7])[torch.randint(0, 3, (num_rows, 1), generator=generator)]
    old, rollout, ref, new = (-3 * torch.rand(shape, generator=generator) for _ in range(4))
    new[torch.rand(shape, generator=generator) < 0.05] = -torch.inf
    rollout[torch.rand(shape, generator=generator) < 0.05] = torch.nan
    batch = make_batch(mask, signs * mask, old, rollout, ref, torch.rand(shape, generator=generator))
    batch = replace(batch, attention_mask=columns < lengths[:, None])
    statistics = {name: (torch.rand(shape, generator=generator) < 0.3).float() for name in STATISTICS}
    statistics["dual_clip_fraction_negative"][batch.advantages >= 0] = torch.nan
    gradient = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.7)
    return batch, new, torch.rand(shape, generator=generator), statistics, gradient


def count_rows(metric, case, rows):
    """Update the metric with some rows of `random_rows`, trimmed as micro-batches are."""
    batch, logprobs, entropy, statistics, gradient = case
    index = torch.tensor(rows, dtype=torch.long)
    part = batch.rows(index)
    width = part.input_ids.shape[1]
    chosen = {name: values[index, :width] for name, values in statistics.items()}
    metric.update_batch(part, logprobs[index, :width], entropy[index, :width], chosen)
    metric.update_gradient(gradient[index, :width], part.loss_weights != 0)


def make_group(name, rewards, texts=None, truncated=(), lengths=None, correct=None):
    """A group from its rewards, None for an error. Right are those of reward 1, or those that `correct` marks."""
    prompt = Prompt(name, ())
    rollouts = []
    for member, reward in enumerate(rewards):
        size = lengths[member] if lengths else 3
        reason = "length" if member in truncated else "stop"
        completion = Completion((1,) * size, (0.0,) * size, reason, text=texts[member] if texts else "")
        is_right = reward == 1.0 if correct is None else bool(correct[member])
        rollouts.append(Rollout(prompt, completion, reward, is_right, {"exact": Verdict(reward)}))
    return RolloutGroup(prompt, tuple(rollouts))


def random_groups(num_groups, seed=0):
    draw = random.Random(seed)
    groups = []
    for i in range(num_groups):
        size = draw.randint(1, 9)
        rewards = [draw.choice([None, 0.0, 0.1, 1.0]) for _ in range(size)]
        texts = [" ".join(draw.choices(["so", "we"], k=draw.randint(0, 60))) for _ in range(size)]
        lengths = [draw.randint(1, 500) for _ in range(size)]
        groups.append(make_group(str(i), rewards, texts, draw.sample(range(size), size // 3), lengths))
    return groups
