"""LightningCLI as this package uses it."""

import os
from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from omegaconf.errors import OmegaConfBaseException

from lit_rlvr.callbacks.run_record import RunRecord
from lit_rlvr.cli.arguments import files_before_flags, interpolations_below
from lit_rlvr.cli.config_location import duplicate_key
from lit_rlvr.cli.help_text import shorten_help
from lit_rlvr.cli.interpolation import explain_interpolation
from lit_rlvr.cli.known_warnings import known_warnings_hidden
from lit_rlvr.cli.launcher import launcher_overrides
from lit_rlvr.cli.mistakes import USAGE_ERROR, mistakes_explained
from lit_rlvr.cli.parser import Parser
from lit_rlvr.cli.parsing_settings import configure_parsing
from lit_rlvr.cli.run_defaults import run_defaults
from lit_rlvr.modules import RLModule
from lit_rlvr.modules.base import PolicyModule

SUBCOMMANDS = {
    "fit": "train, validating as configured",
    "validate": "evaluate on the validation data",
    "test": "evaluate on the test data",
}

ORDER = "Configuration files (-c) apply in the order given, then the flags."

TRAINER_DEFAULTS = {
    "use_distributed_sampler": False,  # the DataModules shard; a second sampler on top would drop and repeat samples
    "num_sanity_val_steps": 0,  # otherwise two batches are generated before the first step
    "log_every_n_steps": 1,  # an iteration has a few steps only
}


class TrainingCLI(LightningCLI):
    """`lit-rlvr VERB fit|validate|test`: parses, records and runs.

    Configuration files apply in order, then flags: a flag always wins, wherever it stands.

    Args:
        verb: name on the command line, and of the directory under `runs/` for the output.
        purpose: what it does, one or two sentences for the help.
        module_class: base class and default of the `model` section.
        data_class: base class and default of the `data` section.
        args: what follows the verb.
    """

    def __init__(
        self,
        verb: str,
        purpose: str,
        module_class: type[LightningModule],
        data_class: type[LightningDataModule],
        args: Sequence[str],
    ) -> None:
        self._asked_for = next((arg for arg in args[:1] if arg in SUBCOMMANDS), None)
        configure_parsing()
        super().__init__(
            module_class,
            data_class,
            save_config_callback=RunRecord,
            save_config_kwargs={"overwrite": True, "command": ("lit-rlvr", verb, *args)},
            trainer_defaults={**TRAINER_DEFAULTS, "default_root_dir": f"runs/{verb}"},
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf+", "prog": f"lit-rlvr {verb}", "description": f"{purpose} {ORDER}"},
            parser_class=Parser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=list(args),
            auto_configure_optimizers=False,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the Trainer methods on offer, with the parameters the command line fills in itself.

        That is the one asked for, or all of them: every parser takes a quarter of a second to build.
        """
        offered = LightningCLI.subcommands()
        return {name: offered[name] for name in SUBCOMMANDS if self._asked_for in (name, None)}

    def setup_parser(self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, Any]) -> None:
        """Build the parsers. Files and flags belong after the subcommand, so the outer parser takes neither."""
        self.parser = Parser(**main_kwargs)
        self._subcommand_method_arguments: dict[str, list[str]] = {}
        self._add_subcommands(self.parser, **subparser_kwargs)
        assert self.parser._subcommands_action is not None
        for choice in self.parser._subcommands_action._choices_actions:
            choice.help = SUBCOMMANDS[choice.dest]
        for name, subparser in self._subcommand_parsers.items():
            subparser.description = f"{self.parser.description} This one: {SUBCOMMANDS[name]}."
            shorten_help(subparser)

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Make the base classes the defaults."""
        bases = {"model": self._model_class, "data": self._datamodule_class}
        parser.set_defaults({key: {"class_path": f"{base.__module__}.{base.__qualname__}"} for key, base in bases.items()})

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse the command line; a mistake in it ends the program with exit code 2 and a short message."""
        given = [*args[:1], *interpolations_below(args[0], files_before_flags(args[1:]))] if args else []
        parser.args = given
        twice = duplicate_key(given)
        if twice:
            parser.exit(USAGE_ERROR, f"error: {twice}\n")
        try:
            self.config = parser.parse_args(given)
        except OmegaConfBaseException as error:
            parser.exit(USAGE_ERROR, f"error: {explain_interpolation(error, given[0], given)}\n")

    def before_instantiate_classes(self) -> None:
        """Take over what an external launcher decided; it wins over files and flags, because its processes already run."""
        trainer = self.config[self.subcommand].trainer
        with mistakes_explained():
            for name, value in launcher_overrides(os.environ).items():
                trainer[name] = value

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer, with the loggers and callbacks of every run."""
        assert self.subcommand is not None
        section = vars(self.config_init[self.subcommand].trainer)
        exports_policy = self.subcommand == "fit" and isinstance(self.model, PolicyModule)
        return super().instantiate_trainer(**run_defaults(section, exports_policy, isinstance(self.model, RLModule)) | kwargs)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run; bad input that is found before the first batch (a missing file, a malformed row) is a mistake, not a crash."""
        try:
            with known_warnings_hidden():
                super()._run_subcommand(subcommand)
        except (ValueError, FileNotFoundError):
            if self.trainer.fit_loop.epoch_loop.batch_progress.total.ready:
                raise
            with mistakes_explained():
                raise
        if dist.is_initialized():
            # Left to the interpreter's exit, a gloo group sometimes takes a process that has succeeded down with it.
            dist.destroy_process_group()

    def instantiate_classes(self) -> None:
        """Build the classes; a value that a constructor refuses is a mistake of the configuration, not a crash."""
        with mistakes_explained():
            super().instantiate_classes()

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would let the checkpoint's hyper-parameters win over files and flags."""
