"""What could spoil a run, looked for before it begins."""

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.checks import CHECKS
from lit_rlvr.doctor.examination import Examination, ExaminationOverError, failure
from lit_rlvr.doctor.finding import Finding, State
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.doctor.report import Printer

__all__ = ["CHECKS", "Check", "Examination", "ExaminationOverError", "Finding", "Patient", "Printer", "State", "failure"]
