"""What a sandbox is: jobs go in, outcomes come out, and nothing that decides a score ever enters it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "runtime_error", "timeout", "memory", "output_limit", "rejected", "infra"]


@dataclass(frozen=True)
class Limits:
    """What one run of one program may use."""

    cpu_s: float = 4.0
    """CPU seconds of the program. This decides a `timeout`: unlike wall-clock time it does not depend on the machine's load."""
    wall_s: float = 12.0
    """Seconds on the clock, for programs that wait instead of computing. Well above `cpu_s`."""
    memory_mb: int = 512
    """MiB of address space that the program may add to the interpreter's own."""
    output_bytes: int = 1_048_576
    """Bytes on standard output, on standard error, and of a returned value; one more is an `output_limit`."""
    stderr_bytes: int = 65_536
    """Bytes of standard error that are kept, from its end."""
    code_bytes: int = 262_144
    """Bytes of source code in UTF-8; longer programs are `rejected` without being run."""

    def __post_init__(self) -> None:
        for name in ("cpu_s", "wall_s", "memory_mb", "output_bytes", "stderr_bytes", "code_bytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class Job:
    """One run of one program in a fresh process."""

    code: str
    """The program's source."""
    stdin: bytes = b""
    """What it reads from standard input."""
    function: str = ""
    """When given: after running `code`, call this function (or `Class.method`, on an instance made without arguments)."""
    arguments: str = ""
    """The JSON list of arguments of that call; empty for no arguments."""
    asserts: str = ""
    """When given: a test script, run in a second sandboxed process. Names it does not define itself stand for the functions of
    `code`, which are called over a pipe: the solution never shares a process with the test. `function` may name one that hides a
    builtin, such as `sum`."""
    prelude: str = ""
    """Source that runs before `code` in the same module: imports that a data set takes for granted, see `CONTEST_PRELUDE`."""


@dataclass(frozen=True)
class Outcome:
    """How one run ended. All of it comes from an untrusted program: compare it, never execute or unpickle it."""

    status: Status
    """`ok` (exit code 0), `runtime_error` (any other exit code, an exception or a signal), `timeout`, `memory`, `output_limit`,
    `rejected` (not a program at all: too long, not UTF-8, contains NUL) or `infra` (could not be judged, already retried)."""
    stdout: bytes = b""
    """Standard output, at most `Limits.output_bytes`."""
    stderr: bytes = b""
    """The end of standard error."""
    result: str = ""
    """JSON text of the function's return value (function jobs only)."""
    passed: bool = False
    """Whether the test script ran to its end without an exception (assert jobs only)."""
    cpu_s: float = 0.0
    """CPU seconds used."""
    wall_s: float = 0.0
    """Seconds on the clock."""
    detail: str = ""
    """One line for people; control characters are escaped."""


class SandboxUnavailable(RuntimeError):  # noqa: N818
    """Nothing on this machine can confine a program. Says what is missing, the mend, and the name of the weaker mode."""


class Sandbox(ABC):
    """Runs programs that nobody has read."""

    @abstractmethod
    def run(self, jobs: Sequence[Job], limits: Limits) -> list[Outcome]:
        """Run every job in a process of its own and return the outcomes in the order of the jobs. Safe from any thread.

        What a program does never raises here: every ending is a status. `infra` means that a job could not be judged although
        it was tried twice; it says nothing about the program.

        Raises:
            SandboxUnavailable: nothing here can confine a program.
        """

    def close(self) -> None:
        """End all processes. The next `run` starts new ones."""
        return None
