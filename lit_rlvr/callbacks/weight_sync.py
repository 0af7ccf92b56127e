"""Joins the two sides: tells the rollouts whose weights to sample from, and when they have changed."""

from lightning.pytorch import Callback, LightningModule, Trainer


class WeightSync(Callback):
    """Connects the policy to the DataModule's rollout engine. RLModule adds this callback by itself.

    The version of the weights is the number of optimizer steps taken. The engine is updated right before it generates whenever the
    version has changed, and nothing is generated from any other version.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Connect for training, and for the validation within it."""
        self._connect(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Connect for `validate`."""
        if trainer.state.fn != "fit":
            self._connect(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Connect for `test`."""
        self._connect(trainer, pl_module)

    @staticmethod
    def _connect(trainer: Trainer, pl_module: LightningModule) -> None:
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(datamodule, "connect"):
            kind = type(datamodule).__name__
            raise TypeError(f"RLModule needs a DataModule that generates rollouts (RolloutDataModule), got {kind}")
        datamodule.connect(pl_module.policy, lambda: trainer.global_step)
