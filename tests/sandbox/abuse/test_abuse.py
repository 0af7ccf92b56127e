"""Every hostile and honest program, in every isolation that this machine offers, as this user and as nobody.

By hand: `python tests/sandbox/abuse/harness.py --help`; a long mixture: `python tests/sandbox/abuse/harness.py --soak 2000`.
"""

import json
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest
from abuse_case import load_cases

HARNESS = Path(__file__).parent / "harness.py"
REPOSITORY = HARNESS.parents[3]
NOBODY = 65534
LIMIT_S = 280
TIERS = ("namespaces", "landlock", "seccomp")


def belt() -> list[str]:
    """Return a prefix that ends all processes with the harness, should a program get out; empty where there is none."""
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
    command = ["unshare", *own_user, "--fork", "--pid", "--kill-child", "--mount-proc"]
    is_there = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    # not as the first process of its name space, which the kernel protects from most signals
    return [*command, "sh", "-c", '"$@"; exit $?', "sh"] if is_there else []


def as_nobody() -> tuple[list[str], str]:
    """Return a prefix that changes the user, and an interpreter that this user may run; skip where there is none."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if not shutil.which("setpriv"):
        pytest.skip("setpriv (util-linux) is not installed")
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # the first execution still has root's powers to find the interpreter; the second one counts
    trial = (
        "import os, sys, lit_rlvr.rewards.code, lit_rlvr.sandbox, tomllib; os.execv(sys.executable, [sys.executable, '-c', ''])"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        tried = subprocess.run([*prefix, python, "-c", trial], env=environment(), capture_output=True, cwd="/")
        if tried.returncode == 0:
            return prefix, python
    pytest.skip(f"user {NOBODY} may not run {sys.executable} or read {REPOSITORY}, and /usr/bin/python3 is too old")


def environment() -> dict[str, str]:
    paths = [str(REPOSITORY), *site.getsitepackages()]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


def report_of(*options: str, prefix: tuple[str, ...] = (), python: str = sys.executable) -> list[dict]:
    """Return what the harness reports; it is killed, and what it started with it, when it takes too long."""
    command = [*belt(), *prefix, python, str(HARNESS), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment())
    report = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0, f"the harness died after {report[-1:]}: {result.stderr[-2000:]}"
    if "unavailable" in report[0]:
        pytest.skip(report[0]["unavailable"])
    return report


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("user", ["this user", "nobody"])
def test_every_program_is_held_and_judged(user: str, tier: str) -> None:
    prefix, python = as_nobody() if user == "nobody" else ([], sys.executable)
    *cases, end = report_of(f"--isolation={tier}", prefix=tuple(prefix), python=python)
    assert end == {"end": []}
    assert [case for case in cases if case["faults"]] == []
    expected = {case.name for cases in load_cases().values() for case in cases if tier == "namespaces" or not case.needs_files}
    assert {case["case"] for case in cases} >= expected


def test_the_traps_see_a_program_that_is_not_confined() -> None:
    """Programs that do no harm outside the harness's own folder, run without a sandbox around them."""
    seen = "overwrites_a_file reads_a_file_by_name reads_all_environments listens tcp udp unix_stream abstract"
    *cases, _ = report_of("--isolation=none", "--cases", *seen.split())
    assert sorted(case["case"] for case in cases if case["faults"]) == sorted(seen.split())


def test_there_are_enough_programs() -> None:
    groups = load_cases()
    benign = groups.pop("benign")
    assert len(benign) >= 35
    assert sum(map(len, groups.values())) >= 70
    assert all(len(cases) >= 10 for cases in groups.values())
    assert not [case.name for case in benign if case.earns is not True]
