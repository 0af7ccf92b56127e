"""What every run leaves behind unless the configuration says otherwise."""

from jsonargparse import Namespace

CALLBACKS = "lit_rlvr.callbacks"
LOGGERS = "lightning.pytorch.loggers"


def add_run_defaults(trainer: Namespace, subcommand: str) -> None:
    """Add loggers and callbacks that the `trainer` section does not mention; they become part of the recorded configuration.

    - metrics as CSV (`logs/`) and for TensorBoard (`tensorboard/`), unless `logger` is set
    - every rollout as JSON lines, the seconds of each phase, and a progress bar over iterations
    - after `fit`, the policy as a Hugging Face folder (`model/`)

    Args:
        trainer: the section to complete, in place.
        subcommand: `fit`, `validate` or `test`.
    """
    root = trainer.default_root_dir
    if trainer.logger in (None, True):
        trainer.logger = [
            _entry(f"{LOGGERS}.CSVLogger", save_dir=root, name="logs"),
            _entry(f"{LOGGERS}.TensorBoardLogger", save_dir=root, name="tensorboard"),
        ]
    defaults = [_entry(f"{CALLBACKS}.PhaseTimer")]
    if trainer.enable_progress_bar is not False:
        defaults.append(_entry(f"{CALLBACKS}.RolloutProgressBar"))
    if trainer.logger:
        defaults.append(_entry(f"{CALLBACKS}.RolloutLog"))
    if subcommand == "fit" and not trainer.fast_dev_run:
        defaults.append(_entry(f"{CALLBACKS}.HFExport", path=f"{root}/model"))
    given = trainer.callbacks if isinstance(trainer.callbacks, list) else [trainer.callbacks] if trainer.callbacks else []
    names = {entry.class_path.rpartition(".")[2] for entry in given}
    trainer.callbacks = given + [entry for entry in defaults if entry.class_path.rpartition(".")[2] not in names]


def _entry(class_path: str, **init_args: str) -> Namespace:
    return Namespace(class_path=class_path, init_args=Namespace(**init_args))
