"""From an ordinary interpreter to a confined zygote: import what programs need, then give everything else up."""

import _sitebuiltins
import builtins
import contextlib
import ctypes
import gc
import importlib
import os
import platform
import signal
import socket
import sys
import sysconfig
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from lit_rlvr.sandbox.confinement import landlock, namespaces
from lit_rlvr.sandbox.confinement.filter import install
from lit_rlvr.sandbox.confinement.limits import limit_zygote
from lit_rlvr.sandbox.confinement.privileges import become_nobody, renounce
from lit_rlvr.sandbox.confinement.seccomp import program_filter, zygote_filter
from lit_rlvr.sandbox.confinement.system import PR_SET_PDEATHSIG, prctl, use_one_malloc_arena
from lit_rlvr.sandbox.inside.streams import prepare_streams

_MAX_THREADS = 64
_THREAD_STACK = 8 * 1024**2
_FIRST_TO_GO = "1000"
"""When the machine is out of memory, programs are killed before the trainer."""
_PER_NAMESPACE_LIMITS = (5, 14)
"""Linux counts a user's threads per user namespace since this version."""


class Settings(NamedTuple):
    """What the forked processes need to know of the zygote."""

    process_id: int
    """The zygote's, as its children see it."""
    address_space: int
    """Bytes the interpreter takes before a program runs."""
    threads: int
    """Threads that the program's user may have in all; 0 where this cannot be counted for programs alone."""
    program_filter: bytes
    """Template of the seccomp filter that each program gets on top of the zygote's; empty for none."""


def confine(config: dict[str, Any]) -> Settings:
    """Take everything from this process that a program does not need.

    Args:
        config: `isolation` (namespaces, landlock, seccomp or none), `modules` to import, `paths` to find them beside the
            standard library.

    Raises:
        OSError: this isolation cannot be had here.
    """
    os.umask(0o022)
    os.chdir("/")
    _import_all(config["modules"], config["paths"])
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as stream:
        stream.write(_FIRST_TO_GO)
    prepare_streams()
    address_space = _address_space()
    isolation = config["isolation"]
    threads, own_filter = 0, b""
    if isolation != "none":
        threads = _isolate(isolation)
        own_filter = program_filter(may_open_files=isolation != "seccomp")  # namespaces and Landlock see to files
    limit_zygote(threads)
    gc.collect()
    gc.freeze()
    gc.disable()  # the zygote itself makes no cycles; programs switch it on again
    return Settings(os.getpid(), address_space, threads, own_filter)


def _isolate(isolation: str) -> int:
    """Confine this process and return the limit on threads that can be enforced."""
    if isolation not in ("namespaces", "landlock", "seccomp"):
        raise OSError(f"no isolation is called {isolation!r}")
    readable, hidden = _runtime_files()
    if isolation == "namespaces":
        is_own_user = namespaces.enter(_runtime_directories(), hidden, become_nobody)
        is_own_user |= _kernel_version() >= _PER_NAMESPACE_LIMITS
        _continue_as_first_process()
        with contextlib.suppress(OSError):
            socket.sethostname("sandbox")
    else:
        is_own_user = become_nobody()
    if isolation == "landlock" and not landlock.version():
        raise OSError("the kernel has no Landlock, or it is not switched on")
    renounce()
    if isolation != "seccomp" and landlock.version():
        landlock.restrict(readable, _runtime_directories())
    install(zygote_filter())
    return _MAX_THREADS if is_own_user else 0


def _import_all(modules: Sequence[str], paths: Sequence[str]) -> None:
    """Import what programs may want, with one thread for each numerical library."""
    os.environ.update({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
    use_one_malloc_arena()
    threading.stack_size(_THREAD_STACK)
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")  # the C library opens it when a thread is ended
    before = list(sys.path)
    sys.path += paths
    for module in modules:
        is_standard = module.partition(".")[0] in sys.stdlib_module_names  # builds of Python may lack some
        with contextlib.suppress(ImportError) if is_standard else contextlib.nullcontext():
            importlib.import_module(module)
    sys.path[:] = before
    os.environ.clear()
    vars(builtins).update(
        exit=_sitebuiltins.Quitter("exit", "Ctrl-D"), quit=_sitebuiltins.Quitter("quit", "Ctrl-D"), help=_sitebuiltins._Helper()
    )


def _runtime_directories() -> list[str]:
    """Return the directories of the standard library."""
    paths = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    return sorted(path for path in paths if os.path.isdir(path))


def _runtime_files() -> tuple[list[str], list[str]]:
    """Return what of the standard library's directories can be read, and what is hidden: packages installed there."""
    entries = [os.path.join(path, name) for path in _runtime_directories() for name in sorted(os.listdir(path))]
    packages = [path for path in entries if os.path.basename(path) in ("site-packages", "dist-packages")]
    return [path for path in entries if path not in packages], packages


def _address_space() -> int:
    with open("/proc/self/statm", "rb") as stream:
        return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _kernel_version() -> tuple[int, ...]:
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in platform.release().split("-")[0].split(".")[:2])


def _continue_as_first_process() -> None:
    """Fork: the child is process 1 of the new namespace, whose end kills everybody in it; the parent waits for it."""
    process_id = os.fork()
    if process_id:
        _wait_for(process_id)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for(process_id: int) -> NoReturn:
    os.closerange(0, 1024)
    _, status = os.waitpid(process_id, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
