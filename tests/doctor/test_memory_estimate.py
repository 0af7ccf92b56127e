"""What is forecast of a training step's memory."""

from collections.abc import Callable

import pytest
import torch

from lit_rlvr.doctor.device_memory import most_taken, taken_and_total
from lit_rlvr.doctor.memory_estimate import state_factor

MAKERS: list[tuple[Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer], float]] = [
    (lambda p: torch.optim.AdamW(p, lr=1e-3), 2),
    (lambda p: torch.optim.AdamW(p, lr=1e-3, amsgrad=True), 3),
    (lambda p: torch.optim.SGD(p, lr=1e-3), 0),
    (lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9), 1),
    (lambda p: torch.optim.RMSprop(p, lr=1e-3), 1),
]


@pytest.mark.parametrize(("make", "factor"), MAKERS)
def test_the_state_of_an_optimizer(make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer], factor: float) -> None:
    optimizer = make([torch.nn.Parameter(torch.zeros(3))])
    assert state_factor(optimizer) == factor
    assert not optimizer.state


def test_a_factored_state_is_small() -> None:
    optimizer = torch.optim.Adafactor([torch.nn.Parameter(torch.zeros(3))])
    factor = state_factor(optimizer)
    assert factor is not None
    assert factor < 0.1


def test_memory_that_is_given_back_counts_too() -> None:
    size = 200 * 2**20

    def work() -> None:
        torch.ones(size // 4).sum()

    taken = most_taken(torch.device("cpu"), work)
    if taken is None:
        pytest.skip("this system does not tell a process its peak memory")
    assert 0.8 * size < taken < 1.5 * size


def test_the_machine_has_memory() -> None:
    memory = taken_and_total(torch.device("cpu"))
    if memory is None:
        pytest.skip("this system does not tell how much memory it has")
    assert 0 < memory[0] < memory[1]
    assert taken_and_total(torch.device("meta")) is None
