"""Joins the two sides: the policy's weights go to the rollout engine before anything is generated."""

from lightning.pytorch import Callback, LightningModule, Trainer


class WeightSync(Callback):
    """Updates the engine at the start of every iteration and of every evaluation.

    The version of the weights is the number of optimizer steps taken; the DataModule refuses to generate from any other. RLModule
    adds this callback by itself.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the engine the weights of this iteration."""
        self._update(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the engine the weights to validate."""
        self._update(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the engine the weights to test."""
        self._update(trainer, pl_module)

    @staticmethod
    def _update(trainer: Trainer, pl_module: LightningModule) -> None:
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(datamodule, "update_weights"):
            raise TypeError(
                f"RLModule needs a DataModule that generates rollouts (RolloutDataModule), got {type(datamodule).__name__}"
            )
        datamodule.update_weights(pl_module.policy, trainer.global_step)
