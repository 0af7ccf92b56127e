"""The keeper of one launched server: a small program that starts it, and lets nothing of it outlive the trainer.

Run by its path, never imported by the trainer. A vLLM server is a tree of processes, and when its root is killed the others stay
(and keep their GPU memory); when the trainer is killed nobody would end any of them. The keeper is the server's parent and the
trainer's child: it kills the server's whole process group when the root has died, when the trainer has, or when it is told to.

Arguments: a JSON object with `command`, `log`, `trainer` (process id) and `folders` to remove once the trainer has died. The first
line of its output is the server's process id; its exit code is the server's.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time

POLL_S = 0.2
"""Seconds between two looks at the server and the trainer."""
GRACE_S = 5.0
"""Seconds a server that is told to end may take."""
PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of <linux/prctl.h>."""


def main() -> int:
    """Keep the server until somebody ends."""
    settings = json.loads(sys.argv[1])
    told: list[int] = []
    # Ctrl-C reaches the whole terminal: the trainer decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_keeper() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)

    with open(settings["log"], "ab") as log:
        server = subprocess.Popen(
            settings["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_keeper,
        )
    sys.stdout.write(f"{server.pid}\n")
    sys.stdout.flush()
    while not _has_ended(server.pid) and not told and os.getppid() == settings["trainer"]:
        time.sleep(POLL_S)
    _end(server)
    if os.getppid() != settings["trainer"]:
        for folder in settings["folders"]:
            shutil.rmtree(folder, ignore_errors=True)
    # As a shell tells it: 137 for a server killed with -9.
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _has_ended(process_id: int) -> bool:
    """Tell whether a child has ended, without reaping it: as long as it is there, nobody else gets the number of its group."""
    return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _end(server: subprocess.Popen) -> None:
    """End the server and what is left of its process group."""
    deadline = time.monotonic() + GRACE_S
    if not _has_ended(server.pid):
        _signal(server.pid, signal.SIGTERM)
        while not _has_ended(server.pid) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    _signal(server.pid, signal.SIGKILL)
    server.wait()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
