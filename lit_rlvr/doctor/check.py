"""What every check must do."""

from abc import ABC, abstractmethod
from typing import ClassVar

from lit_rlvr.doctor.finding import Finding
from lit_rlvr.doctor.patient import Patient


class Check(ABC):
    """Looks at one thing that could spoil a run."""

    name: ClassVar[str]
    """Begins its line."""
    needs: ClassVar[tuple[type["Check"], ...]] = ()
    """Checks that come before it, and without which its own result would mean nothing: it is left out when one of them is red."""

    @abstractmethod
    def run(self, patient: Patient) -> Finding:
        """Return what was found. Runs on every rank; whatever it changes it restores.

        An exception is a finding too: what the check did is what training would do.
        """
