"""The verb `doctor`: everything that training would use, tried before it is used for days."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from transformers.utils import logging as transformers_logging

from lit_rlvr.cli.known_warnings import known_warnings_hidden
from lit_rlvr.cli.lightning_cli import TrainingCLI
from lit_rlvr.cli.mistakes import USAGE_ERROR
from lit_rlvr.cli.train import ROOMS
from lit_rlvr.data import RolloutDataModule
from lit_rlvr.doctor import CHECKS, Examination, ExaminationOverError, Printer, State, failure
from lit_rlvr.modules import RLModule

PURPOSE = (
    "Try a configuration of `lit-rlvr rl fit`, its model, data and engine, before a long run: the same files and flags, and nothing is "
    "trained or written. Exit code 0: no line is red; 1: one is; 2: the configuration is at fault."
)
WITHOUT_TRACES = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "profiler": None,
}
"""Settings of the Trainer that would write or print."""
FAULT_FOUND = 1
TALKATIVE = ("lightning.pytorch", "lightning.fabric")


def doctor(args: list[str]) -> None:
    """Run `lit-rlvr doctor`, and exit with 1 when a line is red, with 2 when the configuration is at fault."""
    for room in ROOMS:
        import_module(f"lit_rlvr.{room}")
    with _libraries_quiet():
        cli = DoctorCLI(args)
    # Another rank's exit code would be taken for a crash by whoever started it.
    if cli.exit_code and cli.trainer.is_global_zero:
        raise SystemExit(cli.exit_code)


class DoctorCLI(TrainingCLI):
    """Sets up what `lit-rlvr rl fit` would, and examines it instead of training it.

    Args:
        args: what follows the verb.
    """

    def __init__(self, args: list[str]) -> None:
        self.printer = Printer()
        self.exit_code = 0
        super().__init__("doctor", PURPOSE, RLModule, RolloutDataModule, ["fit", *args])

    def setup_parser(self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, Any]) -> None:
        """Build the parsers of `rl fit`, with a help of their own."""
        super().setup_parser(add_subcommands, main_kwargs, subparser_kwargs)
        for subparser in self._subcommand_parsers.values():
            subparser.description = self.parser.description
            subparser.usage = "lit-rlvr doctor [-c FILE]... [--KEY VALUE]..."

    def before_instantiate_classes(self) -> None:
        """Leave out what would write: loggers, callbacks of the user, the record of the run."""
        super().before_instantiate_classes()
        assert self.subcommand is not None
        section = self.config[self.subcommand]
        self._examination = Examination(
            [check() for check in CHECKS], deepcopy(section), self.parser.args, self.printer.check_result
        )
        section.trainer.logger, section.trainer.callbacks = False, None
        self.save_config_callback = None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build a Trainer whose only callback is the examination."""
        settings = {**WITHOUT_TRACES, "callbacks": [self._examination], **kwargs}
        return LightningCLI.instantiate_trainer(self, **settings)

    def _run_subcommand(self, subcommand: str) -> None:
        """Examine, and print; an error on the way is a red line, too."""
        try:
            with known_warnings_hidden():
                LightningCLI._run_subcommand(self, subcommand)
        except ExaminationOverError:
            is_red = any(finding.state == State.RED for finding in self._examination.findings.values())
            self.exit_code = FAULT_FOUND if is_red else 0
        except Exception as error:
            is_mistake = isinstance(error, ValueError | FileNotFoundError | MisconfigurationException)
            self.exit_code = USAGE_ERROR if is_mistake else FAULT_FOUND
            if self.trainer.is_global_zero:
                self.printer.result("setup", failure(error))
        if self.trainer.is_global_zero:
            self.printer.summary()
        if dist.is_initialized():
            # As after training: left to the interpreter's exit, a gloo group may take the process down with it.
            dist.destroy_process_group()


@contextmanager
def _libraries_quiet() -> Iterator[None]:
    """Let Lightning keep its advice on loggers, devices and strategies to itself, and transformers its progress bars."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    shows_bars = transformers_logging.is_progress_bar_enabled()
    try:
        transformers_logging.disable_progress_bar()
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        if shows_bars:
            transformers_logging.enable_progress_bar()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
