"""The verifier's process: a keeper that has loaded the libraries, and the child it forks from itself to judge.

Run as a program of its own, never imported by the trainer. The keeper computes nothing: it waits for its child and forks the
next one when it dies, which takes milliseconds. The child sets two timers before each pair whose default action ends it from
the kernel, even inside a single long big-integer operation: nobody has to be alive to kill it.

Messages are JSON over the socket inherited as the descriptor `sys.argv[1]`: `[number, function, texts]` for the child,
`[number, result]` back, and from the keeper `["ready"]`, `["failed", reason]` and `["died", exit code]`.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

NOBODY_LEFT, REPLACED = 3, 4
"""Exit codes of a child: the other end of the socket is closed; it has judged as many pairs as it may."""


def main() -> None:
    """Load the libraries, then keep a child alive as long as somebody listens."""
    connection, settings = Connection(int(sys.argv[1])), json.loads(sys.argv[2])
    sys.path[:] = settings["path"]
    try:
        equivalence = _load("equivalence")
        equivalence.warm_up()
        settings["memory"] += _address_space()
        _renounce()
    except Exception as error:
        _send(connection, "failed", f"{type(error).__name__}: {error}")
        return
    functions = {"equivalent": equivalence.equivalent, "gold_problem": equivalence.gold_problem}
    _send(connection, "ready")
    keeper = os.getpid()
    while True:
        if (child := os.fork()) == 0:
            _confine(keeper, settings)
            os._exit(_judge(connection, functions, settings))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == NOBODY_LEFT:
            return
        if code != REPLACED:
            _send(connection, "died", code)


def _address_space() -> int:
    """Return the bytes of address space this process has, where that can be asked."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _renounce() -> None:
    """Where the kernel has Landlock, lose every file but the libraries, the network, and all privileges."""
    try:
        from lit_rlvr.sandbox.confinement import landlock, privileges
    except ImportError:  # ctypes is not there, or this is no Linux
        return
    if sys.platform != "linux" or not landlock.version():
        return
    with contextlib.suppress(OSError):  # a second fence: what is judged is parsed, never executed
        privileges.renounce()
        landlock.restrict(readable=[*sys.path, sys.base_prefix, sys.prefix, "/usr/lib", "/lib"], listable=[])


def _judge(connection: Connection, functions: dict[str, Callable[..., object]], settings: dict) -> int:
    for _ in range(settings["pairs"]):
        try:
            number, name, texts = json.loads(connection.recv_bytes())
        except EOFError:
            return NOBODY_LEFT
        signal.setitimer(signal.ITIMER_PROF, settings["cpu_s"])
        signal.setitimer(signal.ITIMER_REAL, settings["wall_s"])
        try:
            result = functions[name](*texts)
        except Exception as error:  # whatever a parser may throw at an answer that was written to break it
            result = {"raised": type(error).__name__}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(connection, number, result)
    return REPLACED


def _confine(keeper: int, settings: dict) -> None:
    """Bound the child's memory, let it write no file and start no process, and let it die with its keeper."""
    import resource

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGPROF, signal.SIGALRM):
        signal.signal(signum, signal.SIG_DFL)
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (0, 0))
    if sys.platform == "linux":
        import ctypes

        parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(NOBODY_LEFT)
        resource.setrlimit(resource.RLIMIT_AS, (settings["memory"], settings["memory"]))


def _load(name: str) -> ModuleType:
    """Load a file of this folder by its path: importing it by name would import the package, and torch with it."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _send(connection: Connection, *message: object) -> None:
    try:
        connection.send_bytes(json.dumps(message).encode())
    except OSError:
        os._exit(NOBODY_LEFT)


if __name__ == "__main__":
    main()
