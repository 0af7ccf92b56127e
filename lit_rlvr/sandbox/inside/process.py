"""The first moments of a forked process: its descriptors, its limits, its filter; then it becomes the program.

What runs here runs once per program, and every function that is touched costs a copied page: all that can be is done by the zygote.
"""

import gc
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from lit_rlvr.sandbox.confinement.filter import install
from lit_rlvr.sandbox.confinement.limits import ResourceLimits, limit_program
from lit_rlvr.sandbox.confinement.seccomp import program_filter_for
from lit_rlvr.sandbox.confinement.system import PR_SET_PDEATHSIG, prctl
from lit_rlvr.sandbox.inside import report
from lit_rlvr.sandbox.inside.assert_script import run_test_script
from lit_rlvr.sandbox.inside.call import call_function
from lit_rlvr.sandbox.inside.program import run_program
from lit_rlvr.sandbox.inside.setup import Settings
from lit_rlvr.sandbox.inside.solution import serve_solution
from lit_rlvr.sandbox.inside.streams import MAX_DESCRIPTORS, NULL, PAYLOAD

ROLES: dict[str, Callable[[dict[str, Any]], int]] = {
    "program": run_program,
    "call": call_function,
    "solution": serve_solution,
    "test": run_test_script,
}
"""What a process can be; each takes the payload and returns the exit code."""


def become(role: str, descriptors: list[int], limits: ResourceLimits, settings: Settings) -> NoReturn:
    """Turn the freshly forked process into the program of this role, and end with it."""
    code = 70
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == settings.process_id:
            for place, descriptor in enumerate(descriptors):  # the zygote keeps those places taken: nothing is overwritten
                os.dup2(descriptor, place)
            os.closerange(len(descriptors), NULL)
            os.closerange(NULL + 1, MAX_DESCRIPTORS)
            payload = json.loads(os.pread(PAYLOAD, os.fstat(PAYLOAD).st_size, 0))
            os.close(PAYLOAD)
            _seed()
            gc.enable()
            limit_program(limits)
            if settings.program_filter:
                install(program_filter_for(os.getpid(), settings.program_filter))
            code = ROLES[role](payload)
    except BaseException as error:
        report.write_error(error)
    finally:
        os._exit(code)


def _seed() -> None:
    """Give this process random numbers of its own; numpy keeps the zygote's, which are the same for every program."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
