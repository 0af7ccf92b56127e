"""What has been set up."""

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green
from lit_rlvr.doctor.patient import Patient


class Setup(Check):
    """Says what is examined. That there is something to examine is the finding; what could not be built has ended the run before."""

    name = "setup"

    def run(self, patient: Patient) -> Finding:
        """Describe model, device and engine."""
        policy, trainer = patient.policy, patient.trainer
        count = sum(parameter.numel() for parameter in policy.parameters())
        ranks = f"{trainer.world_size} ranks, {type(trainer.strategy).__name__}" if trainer.world_size > 1 else "1 process"
        return green(
            f"{type(policy.causal_lm).__name__}, {_short(count)} weights in {_name(policy.dtype)}, computing in "
            f"{_name(policy.compute_dtype)} on {policy.device} ({ranks}); {type(patient.engine).__name__}; "
            f"{len(patient.prompts)} training prompts; {type(patient.module.objective).__name__}"
        )


def _short(count: int) -> str:
    for size, unit in ((10**9, "billion"), (10**6, "million")):
        if count >= size / 10:
            return f"{count / size:.1f} {unit}"
    return str(count)


def _name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
