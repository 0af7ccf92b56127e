"""Small attacks that every sandbox must survive before it runs anything else."""

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lit_rlvr.sandbox.base import Job, Limits
from lit_rlvr.sandbox.job import run_job
from lit_rlvr.sandbox.worker import Worker, WorkerDied

_BREACH = "breached"
_LIMITS = Limits(cpu_s=5.0, wall_s=30.0)

_WORKS = """
import sys, threading
thread = threading.Thread(target=lambda: print(int(input()) + 1))
thread.start()
thread.join()
"""
_TRY = """
import os, signal, socket, sys
PATH, PORT, PARENT = {path!r}, {port}, {parent}
try:
    {attack}
except BaseException as error:
    print("refused:", error)
else:
    print({breach!r})
"""
_ATTACKS = {
    "read a file outside": "print(open(PATH).read())",
    "list the directory of a file outside": "assert os.listdir(os.path.dirname(PATH))",
    "write a file outside": "open(PATH + '.written', 'w').write('x')",
    "change the mode of a file outside": "os.chmod(PATH, 0o777)",
    "connect to this machine": "socket.create_connection(('127.0.0.1', PORT), timeout=2)",
    "start a process": "os.fork() or os._exit(0)",
    "run a command": "os.execv('/bin/true', ['/bin/true'])",
    "signal its parent": "os.kill(os.getppid(), signal.SIGTERM)",
    "signal everybody": "os.kill(-1, 0)",
    "read the environment of the trainer": "open(f'/proc/{PARENT}/environ', 'rb').read()",
    "read its own environment": "assert os.environ or open('/proc/self/environ', 'rb').read()",
}
"""What is tried, as a statement that raises when it is refused."""


def self_test(worker: Worker) -> str:
    """Return what is wrong with a worker's confinement: an attack that succeeded, or an honest program that failed; or nothing."""
    try:
        outcome = run_job(worker, Job(code=_WORKS, stdin=b"41\n"), _LIMITS)
        if (outcome.status, outcome.stdout) != ("ok", b"42\n"):
            return f"an honest program failed in it: {outcome.status} {outcome.detail}"
        return _succeeded_attack(worker)
    except WorkerDied as error:
        return f"the zygote did not survive the self-test: {error}"


def _succeeded_attack(worker: Worker) -> str:
    with _targets() as (path, secret, port):
        for name, attack in _ATTACKS.items():
            code = _TRY.format(path=str(path), port=port, parent=os.getpid(), attack=attack, breach=_BREACH)
            printed = run_job(worker, Job(code=code), _LIMITS).stdout.decode("utf-8", "replace")
            if _BREACH in printed or secret in printed or "refused" not in printed:
                return f"a program in it could {name}"
        if list(path.parent.iterdir()) != [path]:
            return "a program in it could write a file outside"
    return ""


@contextlib.contextmanager
def _targets() -> Iterator[tuple[Path, str, int]]:
    """Make a file with a secret, readable by everybody, and a port that listens."""
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        os.chmod(folder, 0o777)
        path = Path(folder) / "canary"
        path.write_text(secret)
        path.chmod(0o644)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield path, secret, listener.getsockname()[1]
