"""What every run leaves behind unless the configuration says otherwise."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from lit_rlvr.callbacks import HFExport, LedgerLog, PhaseTimer, RolloutLog, RolloutProgressBar, TokenLog


def run_defaults(trainer: Mapping[str, Any], exports_policy: bool, has_rollouts: bool) -> dict[str, Any]:
    """Return the loggers and callbacks of the Trainer: those of its section, and what the section does not mention.

    - metrics as CSV (`logs/`) and for TensorBoard (`tensorboard/`), unless `logger` is set
    - every rollout as JSON lines, the tokens of every tenth iteration, the books of each optimizer step, the seconds of each
      phase, and a progress bar over iterations
    - after `fit`, the policy as a Hugging Face folder (`model/`)

    They follow `default_root_dir` and are no part of the recorded configuration: the record of one run, given another
    directory, writes nothing into the first.

    Args:
        trainer: the instantiated section.
        exports_policy: whether a policy is trained that is worth a folder.
        has_rollouts: whether it learns from rollouts.
    """
    if trainer["barebones"]:
        return {}
    root = trainer["default_root_dir"]
    logger = trainer["logger"]
    if logger is None or logger is True:
        logger = [CSVLogger(root, name="logs"), TensorBoardLogger(root, name="tensorboard")]
    given = trainer["callbacks"] or []
    given = given if isinstance(given, list) else [given]
    defaults = _callbacks(trainer, exports_policy, has_rollouts, logger)
    present = {type(callback) for callback in given}
    return {"logger": logger, "callbacks": [*given, *(c for c in defaults if type(c) not in present)]}


def _callbacks(
    trainer: Mapping[str, Any], exports_policy: bool, has_rollouts: bool, logger: list[Logger] | Logger | bool
) -> list[Callback]:
    callbacks: list[Callback] = [PhaseTimer()]
    if trainer["enable_progress_bar"] is not False:
        callbacks.append(RolloutProgressBar())
    if logger:
        callbacks.append(LedgerLog())
    if logger and has_rollouts:
        callbacks += [RolloutLog(), TokenLog()]
    if exports_policy and not trainer["fast_dev_run"]:
        callbacks.append(HFExport(f"{trainer['default_root_dir']}/model"))
    return callbacks
