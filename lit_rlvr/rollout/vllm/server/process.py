"""A vLLM server that this process launches: started, watched, started again, and never left behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

KEEPER = Path(__file__).with_name("keeper.py")
LOG_LINES = 30
"""Last lines of a server's log that an error message shows."""


class ServerProcess:
    """One launched server and its keeper. The keeper ends the whole tree of the server's processes when this process dies.

    Args:
        command: command line of the server.
        environment: of the server.
        log_path: file that the server's output is appended to.
        folders: folders that the keeper removes when this process was killed.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log_path: Path, folders: Sequence[str] = ()
    ) -> None:
        self.command, self.environment, self.log_path, self.folders = list(command), dict(environment), log_path, list(folders)
        self.started_at = -float("inf")
        """When it was started last, on the monotonic clock."""
        self.num_starts = 0
        self.process_id: int | None = None
        """Id of the server, which leads a process group of its own."""
        self._keeper: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the server; it will answer once it has loaded.

        Raises:
            RuntimeError: it runs already, or could not be started at all.
        """
        if self.is_alive():
            raise RuntimeError(f"the server of {self.log_path} runs already")
        self._end_orphans()
        settings = {"command": self.command, "log": str(self.log_path), "trainer": os.getpid(), "folders": self.folders}
        self.started_at = time.monotonic()
        self.num_starts += 1
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", str(KEEPER), json.dumps(settings)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        if not line:
            raise RuntimeError(f"the vLLM server could not be started: {self.command[0]} (exit code {self._keeper.wait()})")
        self.process_id = int(line)

    def is_alive(self) -> bool:
        """Tell whether the server, or what is left of it, still runs."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The server's exit code; None while it runs, or before its start."""
        return self._keeper.poll() if self._keeper is not None else None

    def stop(self) -> None:
        """End the server and wait for it."""
        if self._keeper is None:
            return
        self._keeper.terminate()
        self._keeper.wait()
        self._end_orphans()
        if self._keeper.stdout is not None:
            self._keeper.stdout.close()

    def _end_orphans(self) -> None:
        """End what is left of a server whose keeper was killed itself."""
        if self._keeper is not None and self._keeper.returncode < 0 and self.process_id is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process_id, signal.SIGKILL)

    def log_tail(self, num_lines: int = LOG_LINES) -> str:
        """Return the last lines of the log."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - 200 * num_lines))
                lines = file.read().decode(errors="replace").splitlines()[-num_lines:]
        except FileNotFoundError:
            lines = []
        return "\n".join(f"    | {line}" for line in lines) or "    | (the log is empty)"


def free_port(taken: Sequence[int] = ()) -> int:
    """Return a port of this machine that nobody listens on now, and that is not promised to anyone."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port not in taken:
            return port


def is_port_free(port: int) -> bool:
    """Tell whether nobody listens on a port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # A port that was closed a moment ago is free, as it is for the server.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
