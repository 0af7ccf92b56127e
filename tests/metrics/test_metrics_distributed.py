"""Two real processes measure what one process measures."""

import json

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lit_rlvr.metrics import GroupAccuracy, TokenStatistics


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


def measure(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    # Rank 0 holds 6 problems, rank 1 the other 5 and one that pads its share.
    rows = problems()[:6] if rank == 0 else torch.cat([problems()[6:], torch.ones(1, 4, dtype=torch.bool)])
    weights = torch.tensor([1, 1, 1, 1, 1, int(rank == 0)])
    statistics = token_metric(slice(0, 4) if rank == 0 else slice(4, 6))
    resumed = TokenStatistics(["entropy", "kl"], maxima=["entropy"])
    resumed.load_global_state(statistics.global_state())
    result = {
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
