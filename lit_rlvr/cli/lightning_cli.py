"""LightningCLI as this package uses it."""

import os
import traceback
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from omegaconf.errors import OmegaConfBaseException

from lit_rlvr.callbacks.run_record import RunRecord
from lit_rlvr.cli.arguments import files_before_flags, interpolations_below
from lit_rlvr.cli.config_location import duplicate_key
from lit_rlvr.cli.help_text import shorten_help
from lit_rlvr.cli.interpolation import explain_interpolation
from lit_rlvr.cli.launcher import launcher_overrides
from lit_rlvr.cli.parser import Parser, configure_parsing

DEBUG_VARIABLE = "LIT_RLVR_DEBUG"
"""Set to anything, it shows the traceback of an error in a constructor."""

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
        module_class: base class and default of the `model` section.
        data_class: base class and default of the `data` section.
        args: what follows the verb.
    """

    def __init__(
        self,
        verb: str,
        module_class: type[LightningModule],
        data_class: type[LightningDataModule],
        args: Sequence[str],
    ) -> None:
        configure_parsing()
        super().__init__(
            module_class,
            data_class,
            save_config_callback=RunRecord,
            save_config_kwargs={"overwrite": True, "command": ("lit-rlvr", verb, *args)},
            trainer_defaults={**TRAINER_DEFAULTS, "default_root_dir": f"runs/{verb}"},
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf+", "prog": f"lit-rlvr {verb}"},
            parser_class=Parser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=list(args),
            auto_configure_optimizers=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the Trainer methods on offer, with the parameters the command line fills in itself."""
        offered = LightningCLI.subcommands()
        return {name: offered[name] for name in ("fit", "validate", "test")}

    def setup_parser(self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, Any]) -> None:
        """Build the parsers. Files and flags belong after the subcommand, so the outer parser takes neither."""
        self.parser = Parser(**main_kwargs)
        self._subcommand_method_arguments: dict[str, list[str]] = {}
        self._add_subcommands(self.parser, **subparser_kwargs)

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Make the base classes the defaults, and the help of foreign options one sentence each."""
        bases = {"model": self._model_class, "data": self._datamodule_class}
        parser.set_defaults({key: {"class_path": f"{base.__module__}.{base.__qualname__}"} for key, base in bases.items()})
        shorten_help(parser)

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse the command line; a mistake in it ends the program with exit code 2 and a short message."""
        given = [*args[:1], *interpolations_below(args[0], files_before_flags(args[1:]))] if args else []
        parser.args = given
        twice = duplicate_key(given)
        if twice:
            parser.exit(2, f"error: {twice}\n")
        try:
            self.config = parser.parse_args(given)
        except OmegaConfBaseException as error:
            parser.exit(2, f"error: {explain_interpolation(error, given[0], given)}\n")

    def before_instantiate_classes(self) -> None:
        """Take over what an external launcher decided; it wins over files and flags, because its processes already run."""
        trainer = self.config[self.subcommand].trainer
        for name, value in launcher_overrides(os.environ).items():
            trainer[name] = value

    def instantiate_classes(self) -> None:
        """Build the classes; a value that a constructor refuses is a mistake of the configuration, not a crash."""
        try:
            super().instantiate_classes()
        except (ValueError, FileNotFoundError) as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            self.parser.exit(2, f"error: {error}\n  {_origin(error)}; {DEBUG_VARIABLE}=1 shows the traceback\n")

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would let the checkpoint's hyper-parameters win over files and flags."""


def _origin(error: Exception) -> str:
    """Where an exception was raised: function, file and line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised in {frame.name}, {frame.filename}:{frame.lineno}"
