"""The trainer's end of one verifier process: ask, wait no longer than agreed, and say whose fault a silence was."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MEMORY_LIMIT = 1024**3
"""Bytes of address space that judging may add to what the process starts with."""
PAIRS_PER_PROCESS = 1000
"""The process is replaced after this many pairs: symbolic caches only grow."""
START_ALLOWANCE = 120.0
"""Seconds a process may take to load its libraries."""
GRACE = 5.0
"""Seconds past the wall-clock limit after which a process that gives no sign is killed from outside."""
ATTEMPTS = 3
"""A pair is asked at most so often: whoever kills a process may kill its successor at once."""
CONTROL = ("x+1", "1+x")
"""A pair that every working process can judge."""

_BLAMES_THE_ANSWER = {
    -signal.SIGALRM: "took longer than the wall-clock limit",
    **{-number: f"ended the verifier with {number.name}" for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)},
    **{-number: f"ended the verifier with {number.name}" for number in (signal.SIGFPE, signal.SIGILL)},
}


class GaveUpError(Exception):
    """The verifier works, but not on this answer: it takes too long, too much memory, or breaks the parser."""


class VerifierError(Exception):
    """The verifier could not judge for a reason that is not the answer's: no process, a killed one, a starved machine."""


@dataclass(frozen=True)
class _Lost:
    """There is no reply."""

    reason: str
    is_the_answers: bool = False
    """Whether an answer could have caused this by itself."""


class Worker:
    """One process, started when it is first asked. Used by one thread at a time."""

    def __init__(self, cpu_s: float, wall_s: float) -> None:
        self.cpu_s = cpu_s
        self.wall_s = wall_s
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._numbers = count()

    def ask(self, function: str, *texts: str) -> Any:
        """Return what the function of `equivalence.py` returns for the texts.

        Raises:
            GaveUpError: the texts took more than `cpu_s` of CPU time; or they ran twice into the wall-clock or memory limit or
                broke the process, which judges other pairs fine.
            VerifierError: there was no reply in so many attempts, for any other reason.
        """
        losses: list[_Lost] = []
        while len(losses) < ATTEMPTS:
            reply = self._exchange(function, *texts)
            if not isinstance(reply, _Lost):
                return reply
            losses.append(reply)
            if sum(loss.is_the_answers for loss in losses) == 2:
                if not isinstance(self._exchange("equivalent", *CONTROL), _Lost):
                    raise GaveUpError(reply.reason)
                break
        raise VerifierError(f"the verifier failed {len(losses)} times: " + "; ".join(loss.reason for loss in losses))

    def stop(self) -> None:
        """Kill the process."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is not None:
            process.kill()
            process.wait()

    def _exchange(self, function: str, *texts: str) -> Any:
        number = next(self._numbers)
        try:
            connection = self._started()
            connection.send_bytes(json.dumps([number, function, texts]).encode())
            message = self._receive(connection, self.wall_s + GRACE, (number, "died"))
        except (OSError, EOFError, ValueError) as error:
            self.stop()
            return _Lost(f"{type(error).__name__}: {error}")
        except BaseException:
            self.stop()  # an interrupted exchange leaves a process that nobody listens to
            raise
        kind, result = message
        if kind == "died":
            if result == -signal.SIGPROF:
                raise GaveUpError(f"took more than {self.cpu_s:g} s of CPU time")
            return _Lost(_BLAMES_THE_ANSWER.get(result, f"exit code {result}"), result in _BLAMES_THE_ANSWER)
        if isinstance(result, dict):
            return _Lost(f"raised {result['raised']} in the verifier", True)
        return result

    def _started(self) -> Connection:
        if self._connection is None:
            mine, theirs = Pipe()
            self._connection = mine
            settings = {"cpu_s": self.cpu_s, "wall_s": self.wall_s, "memory": MEMORY_LIMIT, "pairs": PAIRS_PER_PROCESS}
            program = str(Path(__file__).with_name("verifier_process.py"))
            # -P: the program's folder, which holds a math.py, stays off the path. Nothing of the environment but where libraries
            # are; a fixed hash seed makes verdicts reproducible. Away from the terminal, so that Ctrl-C reaches the trainer only.
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-s", program, str(theirs.fileno()), json.dumps(settings | {"path": sys.path})],
                    pass_fds=[theirs.fileno()],
                    env={"PYTHONHASHSEED": "0", "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            kind, *reason = self._receive(mine, START_ALLOWANCE, ("ready", "failed"))
            if kind == "failed":
                raise OSError(f"the verifier's process did not start: {reason[0]}")
        return self._connection

    def _receive(self, connection: Connection, timeout_s: float, awaited: tuple[object, ...]) -> list[Any]:
        """Return the next message of a kind that is awaited; the others belong to questions that were given up."""
        deadline = time.monotonic() + timeout_s
        while connection.poll(max(deadline - time.monotonic(), 0)):
            message = json.loads(connection.recv_bytes())
            if message[0] in awaited:
                return list(message)
        raise TimeoutError(f"no word from the verifier in {timeout_s:g} s")
