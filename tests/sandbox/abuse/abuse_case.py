"""The programs of the abuse suite: what each is, how it is judged, and what it may earn."""

import platform
import tomllib
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
BREACH = "BREACH"
"""Printed by a hostile program that got something it should not have."""
DOUBLE = "print(2 * int(input()))\n"


@dataclass(frozen=True)
class Case:
    """A program, how it is judged, and what it may earn. One table of a TOML file in `programs`, whose name is the group."""

    name: str
    code: str
    """The program. Names between `@`, such as @CANARY@, stand for the traps that are laid out for it."""
    earns: bool | str
    """Whether it solves the task; "either" where both are in order, as long as it does no harm."""
    tests: tuple[tuple[str, str], ...] = (("21\n", "42\n"),)
    """Standard input and expected output; @ANSWER@ is a secret that only the harness knows."""
    function: str = ""
    """Makes it a function job: the inputs are JSON lists of arguments, the expected outputs the JSON of the result."""
    asserts: str = ""
    """Makes it an assert job; the tests are not used."""
    is_bomb: bool = False
    """Runs alone: it strains the whole machine where it is not held."""
    needs_files: bool = False
    """Needs to read files, such as modules that are not loaded yet: not for sandboxes without any."""
    machine: str = ""
    """The machine type its system calls are numbered for."""


def load_cases() -> dict[str, list[Case]]:
    """Return the cases of each group that mean something on this machine."""
    groups = {path.stem: _read(path) for path in sorted(PROGRAMS.glob("*.toml"))}
    for group, case in _made():
        groups[group].append(case)
    names = [case.name for cases in groups.values() for case in cases]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"used twice: {sorted(twice)}")
    return {group: [case for case in cases if case.machine in ("", platform.machine())] for group, cases in groups.items()}


def _read(path: Path) -> list[Case]:
    cases = []
    for name, values in tomllib.loads(path.read_text(encoding="utf-8")).items():
        if "tests" in values:
            values["tests"] = tuple((given, expected) for given, expected in values["tests"])
        cases.append(Case(name, **{"earns": path.stem == "benign", **values}))
    return cases


def _made() -> list[tuple[str, Case]]:
    """Return the cases that are too long, or too odd, for a file."""
    numbers, number = 250_000, 12_345_678_901_234_567_890
    sums = ((" ".join([str(number)] * numbers), f"{numbers} {number * numbers}\n"),)
    long_sum = "x = " + "[" * 90 + "lambda: 0" + "]" * 90 + "\ny = " + "+".join(["1"] * 30_000) + "\n"
    return [
        ("resource", Case("parser_depth", "x = " + "-" * 50_000 + "1\n" + DOUBLE, "either")),
        ("resource", Case("nested_brackets", "x = " + "(" * 20_000 + ")" * 20_000 + "\n" + DOUBLE, False)),
        ("grader", Case("nul_in_the_source", DOUBLE + "\0", False)),
        ("grader", Case("lone_surrogate_in_the_source", DOUBLE + "x = '\ud800'\n", False)),
        ("grader", Case("source_too_long", "# " + "x" * 300_000 + "\n" + DOUBLE, False)),
        ("grader", Case("work_for_the_compiler", long_sum, False)),
        (
            "benign",
            Case(
                "five_megabytes",
                "import sys\ndata = sys.stdin.buffer.read().split()\nprint(len(data), sum(map(int, data)))\n",
                True,
                sums,
            ),
        ),
        ("benign", Case("a_million_bytes", "print('x' * 999_999)\n", True, (("", "x" * 999_999 + "\n"),))),
    ]
