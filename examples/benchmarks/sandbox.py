"""Programs per second of the local sandbox, next to starting a Python process for each of them.

    python examples/benchmarks/sandbox.py --rounds 5
    python examples/benchmarks/sandbox.py --soak 2000

A round runs the same trivial programs (read a number, print its double) once with each way, in turns, with as many at a time as
there are CPUs. The plain ways are `subprocess.run` from as many threads, without isolation or limits: of `python -c CODE`, and
of `python -I -S -c CODE`, the quickest start that Python has, without anything that is installed. Figures are medians of rounds;
a ratio is the median of the ratios within rounds, since other work on the machine slows all ways of a round alike. CPU is what
the program's process, the zygote and this process took together. `start` is from nothing to a zygote that passed its self-test;
memory is the zygote's share (PSS).

`--soak N` runs N programs in the strongest isolation instead, one in ten of them hostile, and fails if a verdict is wrong or a
descriptor or process more is there at the end.
"""

import argparse
import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

from lit_rlvr.sandbox import Job, Limits, LocalSandbox, SandboxUnavailable
from lit_rlvr.sandbox.runtime import interpreter

CODE = "print(2 * int(input()))"
BARE = "python -I -S -c"
ISOLATIONS = ("namespaces", "landlock", "seccomp", "none")
HOSTILE = {
    "import os\nos.abort()": "runtime_error",
    "import os\nos.fork()": "runtime_error",
    "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)": "runtime_error",
    "print('x' * 5_000_000)": "output_limit",
    "x = bytearray(1 << 40)": "memory",
    "import threading\nfor _ in range(30): threading.Thread(target=lambda: None).start()\n1 / 0": "runtime_error",
    "open('/etc/passwd').read()": "runtime_error",
    "while True: pass": "timeout",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, or soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=100, help="programs in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--soak", type=int, default=0, help="run this many programs, some of them hostile, instead")
    settings = parser.parse_args(arguments)
    if settings.soak:
        soak(settings.soak)
    else:
        compare(settings.programs, settings.rounds)


def compare(num_programs: int, num_rounds: int) -> None:
    """Print a row for each way to run a program."""
    sandboxes, starts = {}, {}
    for isolation in ISOLATIONS:
        sandbox, started = LocalSandbox(isolation=isolation), time.perf_counter()
        try:
            sandbox.start()
        except SandboxUnavailable as error:
            print(f"{isolation}: {str(error).splitlines()[1].strip()}")
            continue
        starts[isolation] = time.perf_counter() - started
        sandboxes[isolation] = sandbox
    inputs = [f"{i}\n".encode() for i in range(num_programs)]
    ways: dict[str, Callable[[], list[bytes]]] = {"python -c": lambda: plain(inputs), BARE: lambda: plain(inputs, "-I", "-S")}
    for name, sandbox in sandboxes.items():
        ways[name] = lambda sandbox=sandbox: [o.stdout for o in sandbox.run([Job(CODE, text) for text in inputs], Limits())]
        ways[name]()
    walls: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(num_rounds):
        for name, way in ways.items():
            processes = zygotes()
            cpu, started = cpu_seconds(processes), time.perf_counter()
            assert way() == [b"%d\n" % (2 * i) for i in range(num_programs)], name
            walls[name].append(time.perf_counter() - started)
            cpus[name].append(cpu_seconds(processes) - cpu)
    print(f"{'':<17}{'programs/s':>11}{'x python':>10}{'x bare':>8}{'CPU ms':>9}{'start s':>9}{'PSS MB':>8}")
    for name in ways:
        ratios = [median(a / b for a, b in zip(walls[base], walls[name], strict=True)) for base in ("python -c", BARE)]
        row = f"{name:<17}{num_programs / median(walls[name]):>11.0f}{ratios[0]:>10.1f}{ratios[1]:>8.1f}"
        row += f"{1e3 * median(cpus[name]) / num_programs:>9.2f}"
        print(row + (f"{starts[name]:>9.2f}{memory(name, sandboxes):>8.1f}" if name in starts else ""))
    for sandbox in sandboxes.values():
        sandbox.close()


def plain(inputs: list[bytes], *options: str) -> list[bytes]:
    """Run the program once per input in a process of its own."""

    def one(text: bytes) -> bytes:
        return subprocess.run([interpreter(), *options, "-c", CODE], input=text, capture_output=True, check=True).stdout

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(one, inputs))


def soak(num_programs: int) -> None:
    """Run many programs in rounds of a hundred; raise if anything is wrong or left over."""
    limits, others = Limits(cpu_s=0.5, wall_s=30.0), zygotes()
    sandbox = LocalSandbox()
    hostile = list(HOSTILE.items())
    before: tuple[int, int] | None = None
    for start in range(0, num_programs, 100):
        expected: list[tuple[Job, str, bytes]] = []
        for i in range(start, min(start + 100, num_programs)):
            code, status = hostile[i // 10 % len(hostile)] if i % 10 == 0 else (CODE, "ok")
            expected.append((Job(code, f"{i}\n".encode()), status, b"%d\n" % (2 * i) if status == "ok" else b""))
        outcomes = sandbox.run([job for job, _, _ in expected], limits)
        for (job, status, printed), outcome in zip(expected, outcomes, strict=True):
            assert outcome.status == status, (job.code, outcome)
            assert status != "ok" or outcome.stdout == printed, outcome
        now = (len(os.listdir("/proc/self/fd")), len(zygotes()))
        before = before or now
        print(f"{start + len(expected):>6} programs, {now[0]} descriptors, {now[1]} processes", flush=True)
        assert now == before
    sandbox.close()
    assert set(zygotes()) <= set(others)


def zygotes() -> list[int]:
    """Return all processes that descend from this one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def cpu_seconds(processes: list[int]) -> float:
    """Return the CPU seconds of this process, of some others that still run, and of all that these have waited for."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    for pid in processes:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def memory(name: str, sandboxes: dict[str, LocalSandbox]) -> float:
    """Return the MB of one sandbox's largest zygote that it does not share."""
    for other, sandbox in sandboxes.items():
        if other != name:
            sandbox.close()
    sandboxes[name].run([Job("pass")], Limits())
    texts = []
    for pid in zygotes():
        with suppress(ProcessLookupError, FileNotFoundError):  # one of the other sandboxes, on its way out
            texts.append(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return max(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("Pss:")) / 1000


if __name__ == "__main__":
    main()
