"""Checks for what users write themselves: `check_objective` tries a policy objective against its contract."""

from lit_rlvr.testing.objective_check import check_objective, inspect_objective
from lit_rlvr.testing.objective_findings import Finding, ObjectiveViolation

__all__ = ["Finding", "ObjectiveViolation", "check_objective", "inspect_objective"]
