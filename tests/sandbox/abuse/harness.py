"""Runs the abuse suite in a sandbox among traps and says what went wrong: one JSON line for each case, and one at the end.

The tests start it as a process of its own, because a program that wins may kill it. It can be called by hand, too.
"""

import argparse
import json
import os
import random
import resource
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from abuse_case import Case, load_cases
from judging import TOLERANCE_S, Finding, judge, shown
from own_processes import adopt_orphans, generations, wait_until
from traps import Traps, start_again_with_a_secret

from lit_rlvr.sandbox import Job, Limits, LocalSandbox, SandboxUnavailable

HOSTILE = Limits(cpu_s=0.5, wall_s=2, memory_mb=192)
BENIGN = Limits(cpu_s=4, wall_s=12, memory_mb=512)
NUM_WORKERS = 4
CASES_AT_ONCE = 16
ATTEMPTS = 3
"""How often a case may be late before it is a fault."""
SPARE_DESCRIPTORS = 8
NEXT_PROGRAM = """import builtins, json, math, os, sys
n = int(input())
is_healthy = json.loads(json.dumps([1])) == [1] and math.sqrt(4) == 2 and len("ab") == 2 and int("7") == 7
is_clean = "abuse" not in sys.modules and not hasattr(builtins, "abuse") and not any("abuse" in name for name in os.environ)
print(2 * n if is_healthy and is_clean else "poisoned")
"""


class Harness:
    """A sandbox among traps.

    Args:
        isolation: as LocalSandbox.
    """

    def __init__(self, isolation: str) -> None:
        adopt_orphans()
        self._folder = tempfile.mkdtemp(prefix="harness-")
        tempfile.tempdir = os.environ["TMPDIR"] = self._folder
        os.chmod(self._folder, 0o755)
        os.chdir(self._folder)
        self._traps = Traps()
        self._has_files = has_files(isolation)
        self._sandbox = LocalSandbox(NUM_WORKERS, isolation)
        self._num_generations = 2 if isolation in ("namespaces", "strongest") else 1
        for modules in ("time", "time, graphlib"):  # start all workers, for usual and for unusual modules
            self._sandbox.run([Job(f"import {modules}\ntime.sleep(0.3)")] * NUM_WORKERS, BENIGN)
        self._num_descriptors = len(os.listdir("/proc/self/fd"))

    def run(self, group: str, cases: Sequence[Case]) -> None:
        """Run the cases, bombs one by one, and report what is wrong with each."""
        limits = BENIGN if group == "benign" else HOSTILE
        cases = [case for case in cases if self._has_files or not case.needs_files]
        safe = [case for case in cases if not case.is_bomb]
        rounds = [safe[i : i + CASES_AT_ONCE] for i in range(0, len(safe), CASES_AT_ONCE)]
        for together in [*rounds, *([case] for case in cases if case.is_bomb)]:
            for case, finding in zip(together, self._round(together, limits), strict=True):
                for _ in range(ATTEMPTS - 1):
                    if finding.slow and not finding.faults:
                        (finding,) = self._round([case], limits)
                report(group=group, case=case.name, faults=finding.faults + finding.slow, status=finding.status)

    def soak(self, num_programs: int, groups: dict[str, list[Case]]) -> None:
        """Run a long mixture, a tenth of it hostile, and report wrong verdicts and what has grown."""
        draw = random.Random(0)
        benign = [case for case in groups["benign"] if len(case.tests) == 1 and not case.needs_files]
        hostile = [case for group, cases in groups.items() if group != "benign" for case in cases if len(case.tests) == 1]
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        for _ in range(num_programs // 100):
            for cases, limits, count in ((benign, BENIGN, 90), (hostile, HOSTILE, 10)):
                drawn = draw.choices(cases, k=count)
                for case, finding in zip(drawn, self._round(drawn, limits), strict=True):
                    if finding.faults or (finding.slow and case in benign):
                        report(case=case.name, faults=finding.faults + finding.slow, status=finding.status)
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        report(programs=num_programs, seconds=time.monotonic() - started, grown_mb=grown_mb)

    def close(self) -> list[str]:
        """Close the sandbox and return what it left behind."""
        faults = []
        if len(os.listdir("/proc/self/fd")) > self._num_descriptors + SPARE_DESCRIPTORS:
            faults.append(f"{len(os.listdir('/proc/self/fd'))} descriptors, {self._num_descriptors} at first")
        self._sandbox.close()
        if not wait_until(lambda: not generations()):
            faults.append(f"processes left: {generations()}")
        faults += self._traps.faults()
        self._traps.close()
        if left := os.listdir(self._folder):
            faults.append(f"files left: {left}")
        os.chdir("/")
        shutil.rmtree(self._folder)
        return faults

    def _round(self, cases: Sequence[Case], limits: Limits) -> list[Finding]:
        """Run cases at once; what cannot be told apart is said of all of them."""
        jobs = [[self._job(case, given) for given, _ in case.tests] for case in cases]
        started = time.monotonic()
        outcomes = iter(self._sandbox.run([job for of_case in jobs for job in of_case], limits))
        seconds = time.monotonic() - started
        findings = []
        for case, of_case in zip(cases, jobs, strict=True):
            expected = [self._traps.filled(wanted, case.name) for _, wanted in case.tests]
            findings.append(judge(case, expected, [next(outcomes) for _ in of_case], limits, self._traps.secret))
        most = sum(map(len, jobs)) * (limits.wall_s + TOLERANCE_S) + TOLERANCE_S
        shared = [*self._traps.faults(), *self._next_program(), *self._processes()]
        for finding in findings:
            finding.faults += shared
            finding.slow += [f"back after {seconds:.2f} s"] * (seconds > most)
        return findings

    def _job(self, case: Case, given: str) -> Job:
        code, asserts = self._traps.filled(case.code, case.name), self._traps.filled(case.asserts, case.name)
        if case.function:
            return Job(code, function=case.function, arguments=given)
        return Job(code, asserts=asserts) if asserts else Job(code, given.encode())

    def _next_program(self) -> list[str]:
        """Run an honest program on every worker."""
        outcomes = self._sandbox.run([Job(NEXT_PROGRAM, b"21\n")] * NUM_WORKERS, BENIGN)
        return [f"the next program: {shown(o)}" for o in outcomes if o.status != "ok" or o.stdout != b"42\n"]

    def _processes(self) -> list[str]:
        """Look for processes besides the workers, which are as many as they may be and have no children while idle."""
        if wait_until(self._has_workers_only):
            return []
        return [f"processes besides the workers: {generations()}"]

    def _has_workers_only(self) -> bool:
        found = generations()
        return len(found) <= self._num_generations and all(len(level) <= 2 * NUM_WORKERS for level in found)


def has_files(isolation: str) -> bool:
    """Whether programs can read the standard library: not without Landlock, nor as nobody where only root finds it."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    is_public = all(folder.stat().st_mode & 1 for folder in (library, *library.parents))
    return isolation != "seccomp" and (isolation != "landlock" or os.geteuid() != 0 or is_public)


def report(**values: object) -> None:
    """Print one line of the report."""
    print(json.dumps(values), flush=True)


def main() -> None:
    """Run all cases, or those that are named, or a soak."""
    start_again_with_a_secret()
    groups = load_cases()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isolation", default="strongest", help="as LocalSandbox")
    parser.add_argument("--groups", nargs="+", default=list(groups), choices=list(groups))
    parser.add_argument("--cases", nargs="+", help="names, instead of whole groups")
    parser.add_argument("--soak", type=int, default=0, help="a long mixture of this many programs instead")
    settings = parser.parse_args()
    try:
        harness = Harness(settings.isolation)
    except SandboxUnavailable as error:
        report(unavailable=str(error))
        return
    if settings.soak:
        harness.soak(settings.soak, groups)
    for group in [] if settings.soak else settings.groups:
        harness.run(group, [case for case in groups[group] if not settings.cases or case.name in settings.cases])
    report(end=harness.close())


if __name__ == "__main__":
    main()
