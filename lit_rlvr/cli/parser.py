"""The argument parser: jsonargparse's, with errors a user can act on."""

from contextvars import ContextVar
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from lit_rlvr.cli.error_message import explain
from lit_rlvr.cli.mistakes import USAGE_ERROR
from lit_rlvr.cli.parse_report import Failure, make_report

_nested_failures: ContextVar[tuple[Failure, ...]] = ContextVar("_nested_failures", default=())


class Parser(LightningArgumentParser):
    """Explains an error in one or two lines: the key, its place, the nearest existing name; exit code 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)  # `--trainer.max_epoch` must not quietly mean `max_epochs`
        super().__init__(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a failure. The parser of a class hands its failure on to the parser that asked it."""
        if not self.exit_on_error:
            _nested_failures.set((*_nested_failures.get(), Failure(self, message)))
            super().error(message, ex)
        command_line = getattr(self, "parent_parser", self)
        failure = Failure(getattr(ex, "subcommand_parser", None) or self._chosen_subcommand(), message)
        report = make_report(failure, _nested_failures.get(), getattr(command_line, "args", []))
        self.exit(USAGE_ERROR, f"error: {explain(report)}\n")

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse a command line, forgetting the failures of earlier ones."""
        if self.exit_on_error:
            _nested_failures.set(())
        return super().parse_args(*args, **kwargs)

    def _chosen_subcommand(self) -> "Parser":
        """Return the parser of the subcommand on the command line, or this one."""
        choices: dict[str, Parser] = self._subcommands_action.choices if self._subcommands_action else {}
        return next((choices[arg] for arg in getattr(self, "args", []) if arg in choices), self)
