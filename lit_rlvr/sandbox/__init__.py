"""Running programs that nobody has read: the interface, the sandbox on this machine, and the one behind HTTP."""

from lit_rlvr.sandbox.base import Job, Limits, Outcome, Sandbox, SandboxUnavailable, Status
from lit_rlvr.sandbox.http import HTTPSandbox
from lit_rlvr.sandbox.local import LocalSandbox
from lit_rlvr.sandbox.prelude import CONTEST_PRELUDE

__all__ = [
    "CONTEST_PRELUDE",
    "HTTPSandbox",
    "Job",
    "Limits",
    "LocalSandbox",
    "Outcome",
    "Sandbox",
    "SandboxUnavailable",
    "Status",
]
