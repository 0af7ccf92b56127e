"""The visit: every check, in order, where training would begin."""

from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, State, red, yellow
from lit_rlvr.doctor.patient import Patient

MAX_MESSAGE = 1000
"""Characters that are shown of an error."""
Report = Callable[[Check, Finding], None]
"""Called with each result as it is found, on rank 0 only."""


class ExaminationOverError(Exception):
    """Ends the Trainer's run before its first step."""


class Examination(Callback):
    """Runs the checks instead of the training, and then ends the run with `ExaminationOverError`.

    Args:
        checks: in the order of their lines.
        config: the resolved configuration.
        args: the command line it came from.
        report: is told of each result.
    """

    def __init__(self, checks: Sequence[Check], config: Any, args: Sequence[str], report: Report) -> None:
        self.checks = checks
        self.config = config
        self.args = args
        self.report = report
        self.findings: dict[type[Check], Finding] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Examine: model, strategy, precision, device, data and engine are as they will be in the first step."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        try:
            patient = Patient(trainer, pl_module, data, self.config, self.args)  # type: ignore[arg-type]
            for check in self.checks:
                finding = _worst(self._examine(check, patient))
                self.findings[type(check)] = finding
                if trainer.is_global_zero:
                    self.report(check, finding)
        finally:
            # The Trainer tears a DataModule down only after a run without an exception.
            data.teardown("fit")
        raise ExaminationOverError

    def _examine(self, check: Check, patient: Patient) -> Finding:
        missing = [need.name for need in check.needs if self.findings[need].state == State.RED]
        if missing:
            return yellow(f"not tried: it would tell nothing while {' and '.join(repr(name) for name in missing)} is red")
        try:
            return check.run(patient)
        except Exception as error:  # what fails here would fail in training: it belongs into the report, with the other lines
            return failure(error)


def failure(error: Exception) -> Finding:
    """Return an error as a finding: its message, its notes, and where it was raised."""
    trace, frame = error.__traceback__, None
    while trace is not None:
        frame, trace = (trace.tb_frame.f_code.co_filename, trace.tb_lineno), trace.tb_next
    notes = tuple(getattr(error, "__notes__", ()))
    place = f"raised at {frame[0]}:{frame[1]}" if frame else ""
    message = str(error)
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} ..."
    return red(f"{type(error).__name__}: {message}", *notes, place, mend="what failed here would fail in training")


def _worst(finding: Finding) -> Finding:
    """Return the worst finding of all ranks. A collective."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return finding
    findings: list[Finding] = [finding] * dist.get_world_size()
    dist.all_gather_object(findings, finding)
    worst = max(range(len(findings)), key=lambda rank: (findings[rank].state, -rank))
    chosen = findings[worst]
    if worst == 0:
        return chosen
    return Finding(chosen.state, f"rank {worst}: {chosen.summary}", chosen.details, chosen.mend)
