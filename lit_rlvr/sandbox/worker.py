"""One zygote seen from outside: starting it, asking it to run a job, and noticing that it has died."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lit_rlvr.sandbox.memory_file import contents, memory_file
from lit_rlvr.sandbox.runtime import interpreter

_START_S = 60.0
"""Seconds a zygote may take to come up, on a machine busy with other things."""
_GRACE_S = 30.0
"""Seconds past a job's wall-clock limit after which a silent zygote counts as dead."""
_STOP_S = 2.0
"""Seconds a zygote may take to end by itself."""
_MESSAGE_BYTES = 65536
_FOLDER = Path(__file__).parent
_BOOTSTRAP = """
import sys, types
link, parent, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for name, path in (("lit_rlvr", folder + "/.."), ("lit_rlvr.sandbox", folder)):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
from lit_rlvr.sandbox.inside.zygote import main
main(link, parent)
"""
"""Reaches this package's files without running `lit_rlvr/__init__.py`, whose imports have no place in a sandbox."""


class WorkerDied(Exception):  # noqa: N818
    """The zygote ended, or could not do what it was asked; this says nothing about the program."""


class ConfinementUnavailable(Exception):  # noqa: N818
    """The isolation that was asked for cannot be had on this machine."""


class Request(NamedTuple):
    """One process of a job."""

    role: str
    """`program`, `call`, `solution` or `test`."""
    cpu_s: float
    wall_s: float
    memory_bytes: int
    file_bytes: int
    descriptors: tuple[int, ...]
    """What become its descriptors 0, 1, 2, ..."""


class Worker:
    """A zygote process. Used by one thread at a time.

    Args:
        isolation: how it is confined.
        modules: what it imports.
        paths: where it finds modules that are not of the standard library.

    Raises:
        ConfinementUnavailable: the zygote could not confine itself this way.
        WorkerDied: the zygote did not come up.
    """

    def __init__(self, isolation: str, modules: Sequence[str], paths: Sequence[str]) -> None:
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = memory_file()
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = _spawn(theirs, self._log)
            config = {"isolation": isolation, "modules": list(modules), "paths": list(paths)}
            self._send(json.dumps(config).encode(), [])
            answer = self._receive(_START_S)
        except WorkerDied as error:
            self.stop()
            raise WorkerDied(f"the zygote did not start ({error}): {self.log()}") from None
        if "unavailable" in answer:
            self.stop()
            raise ConfinementUnavailable(answer["unavailable"])
        self.max_threads: int = answer["threads"]

    def send(self, requests: Sequence[Request]) -> None:
        """Start the processes of one job.

        Raises:
            WorkerDied: it could not be done; this worker is of no more use.
        """
        for i, request in enumerate(requests):
            fields = request._asdict()
            descriptors = fields.pop("descriptors")
            fields["has_more"] = i + 1 < len(requests)
            self._send(json.dumps(fields).encode(), list(descriptors))

    def receive(self, wall_s: float) -> list[dict[str, Any]]:
        """Wait for the processes of the job and return how each ended.

        Raises:
            WorkerDied: as `send`.
        """
        answer = self._receive(wall_s + _GRACE_S)
        if answer.get("error") or "endings" not in answer:
            raise WorkerDied(answer.get("error") or f"the zygote sent {sorted(answer)} in place of endings")
        return answer["endings"]

    @property
    def process_id(self) -> int:
        """The process that was started here; in a process namespace the zygote is its child."""
        return self._process.pid if self._process else -1

    def log(self) -> str:
        """Return the end of what the zygote wrote on its standard error."""
        lines = contents(self._log, 1 << 20).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def stop(self) -> None:
        """End the zygote and everything in it."""
        self._link.close()
        if self._process is None or self._process.returncode is not None or self._owner != os.getpid():
            return
        try:
            self._process.wait(_STOP_S)  # it notices the closed socket, and ends after all below it
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # a session of its own, never this process's group
            self._process.wait()

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._log)

    def _send(self, message: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._link, [message], descriptors)
        except OSError as error:
            raise WorkerDied(f"the zygote cannot be reached: {error.strerror}") from None

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        try:
            self._link.settimeout(timeout_s)
            message = self._link.recv(_MESSAGE_BYTES)
        except TimeoutError:
            raise WorkerDied(f"no word from the zygote in {timeout_s:.0f} s") from None
        except OSError as error:
            raise WorkerDied(f"the zygote cannot be reached: {error.strerror}") from None
        if not message:
            raise WorkerDied("the zygote ended")
        return json.loads(message)


def _spawn(link: socket.socket, log: int) -> subprocess.Popen[bytes]:
    """Start a zygote with nothing of this process but the socket and a descriptor that tells when this process ends."""
    try:
        parent = os.pidfd_open(os.getpid())
    except OSError:
        parent = -1
    numbers = [link.fileno(), *([parent] if parent >= 0 else [])]
    command = [interpreter(), "-I", "-S", "-X", "utf8", "-c", _BOOTSTRAP, str(link.fileno()), str(parent), str(_FOLDER)]
    try:
        return subprocess.Popen(
            command,
            pass_fds=numbers,
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerDied(f"{command[0]}: {error.strerror}") from None
    finally:
        if parent >= 0:
            os.close(parent)
