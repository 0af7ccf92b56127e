"""Leaves a Hugging Face folder behind when training ends."""

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_rlvr.modules.export import export_policy, gathered


class HFExport(Callback):
    """Exports the policy and its tokenizer at the end of `fit`.

    Args:
        path: the folder to write, local or any fsspec URL.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the folder, from rank 0."""
        policy = gathered(pl_module.policy)  # type: ignore[arg-type]
        if trainer.is_global_zero:
            export_policy(policy, trainer.datamodule.tokenizer, self.path)  # type: ignore[attr-defined]
