"""Token statistics against a naive loop, and what a checkpoint keeps of them."""

import math

import pytest
import torch
from operation_count import CountOperations
from torch import nn

from lit_rlvr.metrics import TokenStatistics

NAMES = ["entropy", "clip_fraction_low", "ratio"]


def micro_batches(num=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for i in range(num):
        shape = (2 + i, 5 + 3 * i)
        statistics = {name: torch.randn(shape, generator=generator) for name in NAMES}
        statistics["clip_fraction_low"][torch.rand(shape, generator=generator) < 0.4] = torch.nan
        yield statistics, torch.rand(shape, generator=generator) < 0.6


def naive(batches):
    tokens = {name: [] for name in NAMES}
    for statistics, mask in batches:
        for name, values in statistics.items():
            for row, row_mask in zip(values.tolist(), mask.tolist(), strict=True):
                tokens[name] += [x for x, counts in zip(row, row_mask, strict=True) if counts and not math.isnan(x)]
    means = {name: math.fsum(values) / len(values) for name, values in tokens.items()}
    return means | {"ratio_max": max(tokens["ratio"])}


def filled(batches, names=NAMES):
    metric = TokenStatistics(names, maxima=["ratio"])
    for statistics, mask in batches:
        metric.update(statistics, mask)
    return metric


def test_equals_a_naive_loop_over_tokens():
    assert filled(micro_batches()).compute() == pytest.approx(naive(micro_batches()), rel=1e-6)


def test_names_may_be_absent_from_an_update_and_unseen_ones_are_left_out():
    metric = TokenStatistics([*NAMES, "kl"], maxima=["ratio", "kl"])
    mask = torch.ones(1, 2, dtype=torch.bool)
    metric.update({"ratio": torch.tensor([[1.0, 3.0]])}, mask)
    metric.update({"entropy": torch.tensor([[0.5, 0.7]]), "ratio": torch.tensor([[2.0, torch.nan]])}, mask)
    assert metric.compute() == pytest.approx({"entropy": 0.6, "ratio": 2.0, "ratio_max": 3.0})


def test_empty_masks_give_no_value():
    metric = filled([({"ratio": torch.full((2, 3), torch.nan)}, torch.zeros(2, 3, dtype=torch.bool))])
    metric.update({}, torch.ones(2, 3, dtype=torch.bool))
    metric.update({"ratio": torch.zeros(0, 3)}, torch.zeros(0, 3, dtype=torch.bool))
    assert metric.compute() == {}


def test_values_outside_the_mask_do_not_matter():
    values = torch.tensor([[1.0, torch.inf], [torch.nan, 2.0]])
    metric = filled([({"ratio": values}, torch.tensor([[True, False], [True, True]]))])
    assert metric.compute() == {"ratio": 1.5, "ratio_max": 2.0}


def test_a_gradient_is_not_kept():
    values = torch.ones(1, 2, requires_grad=True)
    metric = filled([({"ratio": values * 2}, torch.ones(1, 2, dtype=torch.bool))])
    assert not metric.sums.requires_grad


def test_unknown_names_are_rejected():
    with pytest.raises(ValueError, match=r"unknown token statistics \['kl'\]"):
        TokenStatistics(NAMES).update({"kl": torch.zeros(1, 1)}, torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="must differ"):
        TokenStatistics(["a", "a"])
    with pytest.raises(ValueError, match=r"got \['b'\]"):
        TokenStatistics(["a"], maxima=["b"])


def test_sums_keep_counting_in_a_half_precision_module():
    """bfloat16 has 8 bits: 256 + 1 = 256. A module converted to it must not convert the sums."""
    module = nn.Module()
    module.statistics = TokenStatistics(["a"])
    module.to(torch.bfloat16)
    mask = torch.ones(1, 1, dtype=torch.bool)
    for _ in range(1000):
        module.statistics.update({"a": torch.ones(1, 1, dtype=torch.bfloat16)}, mask)
    assert module.statistics.sums.dtype == torch.float64
    assert module.statistics.sums.tolist() == [1000.0]
    module.statistics.reset()
    assert module.statistics.sums.dtype == torch.float64


def test_state_dict_round_trip_continues_bit_for_bit():
    batches = list(micro_batches(6))
    before = nn.ModuleDict({"statistics": filled(batches[:3])})
    after = nn.ModuleDict({"statistics": TokenStatistics(NAMES, maxima=["ratio"])})
    saved = {name: value.clone() for name, value in before.state_dict().items()}
    assert set(saved) == {"statistics.sums", "statistics.counts", "statistics.largest"}
    after.load_state_dict(saved)
    for statistics, mask in batches[3:]:
        after["statistics"].update(statistics, mask)
    assert after["statistics"].compute() == filled(batches).compute()
    assert torch.equal(saved["statistics.counts"], before["statistics"].counts)


def test_global_state_round_trip_on_one_process():
    metric = filled(micro_batches())
    restored = TokenStatistics(NAMES, maxima=["ratio"])
    restored.update({"ratio": torch.full((1, 1), 99.0)}, torch.ones(1, 1, dtype=torch.bool))
    restored.load_global_state(metric.global_state())
    assert restored.compute() == metric.compute()


def test_a_state_of_other_statistics_is_rejected():
    with pytest.raises(ValueError, match="holds 3 statistics but this run has 1"):
        TokenStatistics(["a"]).load_state_dict(filled(micro_batches()).state_dict())


@pytest.mark.parametrize("length", [4, 400])
def test_an_update_takes_few_operations_and_never_reads_the_device(length):
    names = [f"s{i}" for i in range(10)]
    metric = TokenStatistics(names, maxima=names[:1])
    statistics = {name: torch.randn(2, length) for name in names}
    with CountOperations() as operations:
        metric.update(statistics, torch.ones(2, length, dtype=torch.bool))
    # Ten statistics, each expanded once by `stack`, and a fixed number besides.
    assert len(operations.names) <= 2 * len(names) + 20
    assert not operations.reads()
