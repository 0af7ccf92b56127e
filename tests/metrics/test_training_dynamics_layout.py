"""Training dynamics bear no trace of how rows were dealt out, survive a checkpoint, and cost little."""

import pytest
import torch
from dynamics_cases import STATISTICS, count_rows, make_batch, random_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from operation_count import CountOperations

from lit_rlvr.metrics import TrainingDynamics


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 50), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=7))
def test_ranks_and_micro_batches_leave_no_trace(seed, places):
    case = random_rows(len(places), seed)
    whole = TrainingDynamics(STATISTICS)
    count_rows(whole, case, list(range(len(places))))
    ranks = []
    for rank in range(3):
        ranks.append(TrainingDynamics(STATISTICS))
        for micro_batch in range(4):
            rows = [row for row, place in enumerate(places) if place == (rank, micro_batch)]
            if rows:
                count_rows(ranks[-1], case, rows[::-1])
    # What synchronization does: add the sums and the counts, take the largest of the maxima.
    states = [rank.global_state() for rank in ranks]
    merged = {name: torch.stack([state[name] for state in states]).sum(dim=0) for name in ("sums", "counts")}
    merged["largest"] = torch.stack([state["largest"] for state in states]).amax(dim=0)
    together = TrainingDynamics(STATISTICS)
    together.load_global_state(merged)
    assert together.compute() == pytest.approx(whole.compute(), rel=1e-12, abs=1e-14)
    assert torch.equal(merged["counts"], whole.counts)


def test_the_state_survives_a_round_trip():
    case = random_rows(6)
    metric, restored = TrainingDynamics(STATISTICS), TrainingDynamics(STATISTICS)
    count_rows(metric, case, [0, 1, 2])
    count_rows(restored, case, [5])
    restored.load_global_state(metric.global_state())
    for subject in (metric, restored):
        count_rows(subject, case, [3, 4, 5])
    assert restored.compute() == metric.compute()
    with pytest.raises(ValueError, match="resume with the objective"):
        TrainingDynamics(["clip_fraction_low"]).load_global_state(metric.global_state())


@pytest.mark.parametrize("num_rows", [1, 50])
def test_an_update_takes_few_operations_and_never_reads_the_device(num_rows):
    zeros = torch.zeros(num_rows, 20)
    metric = TrainingDynamics(STATISTICS)
    batch = make_batch(torch.ones(num_rows, 20, dtype=torch.bool), zeros, zeros, zeros, zeros, zeros)
    with CountOperations() as operations:
        metric.update_batch(batch, zeros, zeros, dict.fromkeys(STATISTICS, zeros))
        metric.update_gradient(zeros, batch.loss_mask)
    # Scalars stay on the CPU. There are 24 names.
    assert len([name for name in operations.names if "scalar_tensor" not in name]) <= 110
    assert not operations.reads()
