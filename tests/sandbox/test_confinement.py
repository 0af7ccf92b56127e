"""What the kernel refuses, what the self-test sees, and what is chosen where a machine offers less."""

import json
import subprocess
import sys

import pytest

from lit_rlvr.cli import main
from lit_rlvr.sandbox import Job, Limits, LocalSandbox
from lit_rlvr.sandbox.self_test import self_test
from lit_rlvr.sandbox.worker import Worker

LIMITS = Limits(cpu_s=2.0, wall_s=20.0)


def test_self_test_sees_that_nothing_is_confined() -> None:
    worker = Worker("none", ["json", "socket"], [])
    assert self_test(worker) == "a program in it could read a file outside"
    worker.stop()


POORER = """
import sys
from lit_rlvr.sandbox.confinement.filter import ALLOWED, assemble, install, refused
from lit_rlvr.sandbox.confinement.system import prctl
prctl(38, 1)
install(assemble({name: refused(1) for name in sys.argv[1].split()}, ALLOWED))
from lit_rlvr.sandbox import Job, Limits, LocalSandbox, SandboxUnavailable
try:
    sandbox = LocalSandbox(num_workers=1)
    print(sandbox.start(), sandbox.run([Job("print(input())", b"42")], Limits())[0].stdout)
except SandboxUnavailable as error:
    print(error)
"""
"""A machine that refuses some system calls, as a container does."""


def on_poorer_machine(refused: str) -> str:
    command = [sys.executable, "-c", POORER, refused]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_next_weaker_isolation_is_taken(strongest: LocalSandbox) -> None:
    if strongest.start() != "namespaces":
        pytest.skip("this machine is a poorer one already")
    assert on_poorer_machine("pivot_root") == "landlock b'42\\n'\n"
    assert on_poorer_machine("pivot_root landlock_create_ruleset") == "seccomp b'42\\n'\n"


def test_works_on_kernels_without_process_descriptors(strongest: LocalSandbox) -> None:
    assert on_poorer_machine("pidfd_open") == f"{strongest.start()} b'42\\n'\n"


def test_nothing_runs_where_nothing_confines() -> None:
    message = on_poorer_machine("seccomp landlock_create_ruleset")
    assert message.startswith("this machine cannot confine a program:")
    for word in ("namespaces: ", "landlock: ", "seccomp: Operation not permitted", "isolation: none", "HTTPSandbox"):
        assert word in message


REFUSED = {
    "processes": "import os\nos.fork()",
    "commands": "import subprocess\nsubprocess.run(['true'])",
    "network": "import socket\nsocket.socket()",
    "files": "open('/etc/passwd').read()",
    "directories": "import os\nos.listdir('/root')",
    "writing": "open('/tmp/x', 'w')",
    "writing in its own directory": "open('x', 'w')",
    "other processes": "import os\nos.kill(os.getppid(), 0)",
    "all processes": "import os\nos.kill(-1, 0)",
    "shared memory": "from multiprocessing import shared_memory\nshared_memory.SharedMemory(create=True, size=1)",
    "memory files": "import os\nos.memfd_create('x')",
    "raising its own limits": "import ctypes\nassert ctypes.CDLL(None).setrlimit(7, (ctypes.c_ulong * 2)(9999, 9999)) == 0",
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_kernel_refuses(local: LocalSandbox, name: str) -> None:
    if local.isolation == "none":
        pytest.skip("nothing is refused without isolation")
    (outcome,) = local.run([Job(REFUSED[name])], LIMITS)
    assert outcome.status == "runtime_error"


def test_other_modules_of_the_library_can_be_read_where_files_are_confined(strongest: LocalSandbox) -> None:
    if strongest.start() == "seccomp":
        pytest.skip("no file can be opened")
    code = "import colorsys, netrc\nprint(colorsys.rgb_to_hsv(0, 0, 0))"
    assert strongest.run([Job(code)], LIMITS)[0].stdout == b"(0.0, 0.0, 0)\n"


def test_packages_of_the_machine_cannot_be_imported(strongest: LocalSandbox) -> None:
    outcomes = strongest.run([Job(f"import {name}") for name in ("torch", "lit_rlvr", "pytest", "pip")], LIMITS)
    assert ["ModuleNotFoundError" in outcome.detail for outcome in outcomes] == [True] * 4


def test_limits_of_a_program() -> None:
    code = """
import json, resource
print(json.dumps({name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT")}))
"""
    sandbox = LocalSandbox(num_workers=1)
    limits = Limits(cpu_s=3.0, memory_mb=100, output_bytes=50_000)
    found = json.loads(sandbox.run([Job(code)], limits)[0].stdout)
    assert found["RLIMIT_CORE"] == [0, 0]
    assert found["RLIMIT_NOFILE"] == [128, 128]
    assert found["RLIMIT_CPU"] == [5, 5]
    assert found["RLIMIT_FSIZE"][1] <= 65_537
    assert 100 << 20 < found["RLIMIT_AS"][1] < 300 << 20
    sandbox.close()


def test_check_tells_what_is_chosen(strongest: LocalSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sandbox", "check"]) == 0
    text = capsys.readouterr().out
    assert f"LocalSandbox uses {strongest.start()}" in text
    assert "seccomp" in text
    assert main(["sandbox", "chekc"]) == 2
    assert "did you mean check" in capsys.readouterr().err.lower()
