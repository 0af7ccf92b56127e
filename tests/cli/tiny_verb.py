"""A verb `tiny` for the tests: a linear layer, three numbers of data, and the real objectives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lit_rlvr.cli.lightning_cli import TrainingCLI
from lit_rlvr.objectives import GRPO, PolicyObjective


class TinyReward(ABC):
    """The interface of the rewards here."""

    @abstractmethod
    def __call__(self) -> float: ...


class ExactAnswer(TinyReward):
    """A reward with one setting.

    Args:
        weight: in the sum.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(self) -> float:
        return self.weight


@dataclass(frozen=True)
class TinyPolicy:
    """Which model."""

    path: str
    """Where the weights lie."""
    width: int = 2
    """Inputs of the layer."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"model.policy.width must be at least 1, got {self.width}")


class TinyModule(LightningModule):
    """A linear layer.

    Args:
        policy: the model.
        objective: the loss of each token.
        optimizer: makes the optimizer.
        lr_scheduler: makes the schedule.
        kl_coef: of the penalty.
    """

    def __init__(
        self,
        policy: TinyPolicy,
        objective: PolicyObjective = GRPO(),  # noqa: B008 - frozen
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
        kl_coef: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(policy.width, 1)
        self.optimizer, self.kl_coef = optimizer, kl_coef

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("kl_coef", self.kl_coef)

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.parameters())


class TinyData(LightningDataModule):
    """Ones.

    Args:
        num_rows: rows per epoch.
        rewards: by name.
    """

    def __init__(self, num_rows: int = 3, rewards: dict[str, TinyReward] | None = None) -> None:
        super().__init__()
        self.num_rows, self.rewards = num_rows, rewards

    def train_dataloader(self) -> torch.utils.data.DataLoader[Tensor]:
        return torch.utils.data.DataLoader(torch.ones(self.num_rows, 2))  # type: ignore[arg-type]

    val_dataloader = test_dataloader = train_dataloader


last: list[TrainingCLI] = []
"""The command line that ran last, for the tests to look into."""


def run(args: list[str]) -> None:
    last.clear()
    last.append(TrainingCLI("tiny", "A verb of the tests.", TinyModule, TinyData, args))
