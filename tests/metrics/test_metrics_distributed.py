"""Two real processes measure what one process measures."""

import json

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from dynamics_cases import STATISTICS, count_rows, random_groups, random_rows

from lit_rlvr.metrics import GroupAccuracy, RolloutDynamics, TokenStatistics, TrainingDynamics
from lit_rlvr.rollout.statistics import rollout_statistics


def accuracy_of(rows, weights=None):
    metric = GroupAccuracy(4, pass_k=[1, 2, 4])
    metric.update(rows, weights)
    return metric


def problems():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(11, 4, generator=generator) < torch.rand(11, 1, generator=generator)


def tokens():
    values = torch.randn(6, 9, generator=torch.Generator().manual_seed(1))
    return values, values > -0.5


def token_metric(rows):
    values, mask = tokens()
    metric = TokenStatistics(["entropy", "kl"], maxima=["entropy"])
    metric.update({"entropy": values[rows], "kl": values[rows] ** 2}, mask[rows])
    return metric


def training_metric(*micro_batches):
    metric = TrainingDynamics(STATISTICS)
    for rows in micro_batches:
        count_rows(metric, random_rows(9), rows)
    return metric


def rollout_metric(groups):
    metric = RolloutDynamics(["exact"])
    metric.update(groups)
    return metric


def measure(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    # Rank 0 holds 6 problems, rank 1 the other 5 and one that pads its share.
    rows = problems()[:6] if rank == 0 else torch.cat([problems()[6:], torch.ones(1, 4, dtype=torch.bool)])
    weights = torch.tensor([1, 1, 1, 1, 1, int(rank == 0)])
    statistics = token_metric(slice(0, 4) if rank == 0 else slice(4, 6))
    resumed = TokenStatistics(["entropy", "kl"], maxima=["entropy"])
    resumed.load_global_state(statistics.global_state())
    # Uneven shares: 7 responses in two micro-batches and 2 in one; 1 group and 10.
    training = training_metric([0, 8, 3], [7, 1, 2, 5]) if rank == 0 else training_metric([6, 4])
    groups = random_groups(11)
    resumed_training = TrainingDynamics(STATISTICS)
    resumed_training.load_global_state(training.global_state())
    result = {
        "training": training.compute(),
        "resumed_training": resumed_training.compute(),
        "rollout": rollout_metric(groups[:1] if rank == 0 else groups[1:]).compute(),
        # Every rank has all groups; what one of them does alone must not wait for the other.
        "iteration": rollout_statistics(groups) if rank == 1 else {},
        "accuracy": accuracy_of(rows, weights).compute(),
        "statistics": statistics.compute(),
        "resumed": resumed.compute(),
        "own_tokens": statistics.counts.tolist(),
    }
    with open(f"{folder}/rank{rank}.json", "w") as file:
        json.dump(result, file)
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    # Forked processes need not import torch again; their tensors are too small for a thread pool, which would not survive a fork.
    mp.start_processes(measure, args=(str(tmp_path),), nprocs=2, start_method="fork")
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["accuracy"] == second["accuracy"] == accuracy_of(problems()).compute()
    whole = token_metric(slice(None)).compute()
    for name, value in whole.items():
        assert abs(first["statistics"][name] - value) < 1e-9
    assert first["statistics"] == second["statistics"]
    assert first["resumed"] == second["resumed"] == first["statistics"]
    assert first["own_tokens"] != second["own_tokens"]
    assert first["training"] == second["training"] == first["resumed_training"] == second["resumed_training"]
    assert first["training"] == pytest.approx(training_metric(list(range(9))).compute(), rel=1e-12, abs=1e-14)
    assert first["rollout"] == second["rollout"]
    assert first["rollout"] == pytest.approx(rollout_metric(random_groups(11)).compute(), rel=1e-12)
    assert second["iteration"] == rollout_metric(random_groups(11)).compute()
