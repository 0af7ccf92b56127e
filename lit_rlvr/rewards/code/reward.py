"""The reward for programs that pass tests."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.code.cases import CodeTest
from lit_rlvr.rewards.code.extraction import extract_program, fenced
from lit_rlvr.rewards.code.judging import Report, run_tests
from lit_rlvr.rewards.code.reading import read_tests
from lit_rlvr.rewards.code.recent import RecentResults
from lit_rlvr.rewards.code.references import reference_program
from lit_rlvr.rewards.code.row import RowFormat
from lit_rlvr.rewards.code.selection import select_tests
from lit_rlvr.rewards.self_test import SelfTest
from lit_rlvr.sandbox import Limits, LocalSandbox, Sandbox
from lit_rlvr.types import Completion, Prompt, Verdict

RECENT = 64
"""Problems and programs that are remembered: a group's members share their tests, and its equal programs their report."""
CHECKED_AT_ONCE = 8
"""Prompts whose reference solutions `check` runs at the same time."""
SHOWN_PROBLEMS = 5
"""Prompts named by `check`."""
START_S = 60.0
"""Seconds that a sandbox may take to start on a busy machine."""


class CodeReward(RewardFunction):
    """Pays for a program that passes the prompt's tests, each run in the sandbox and judged outside of it.

    All tests passed is 1, the rubric's full score: only then is a completion correct. With `partial_credit` the rest is paid by the
    share of tests passed, `incorrect_score + share * (1 - incorrect_score)`; without, it is `incorrect_score`, and so is a completion
    without a program. Klear's reward for code (arXiv 2508.07629) is `ThinkGate(CodeReward(incorrect_score=-1, partial_credit=True,
    max_tests=16))`, that of ASPO and Archer 2 (arXiv 2510.06062) `CodeReward(max_tests=16)`. Both draw their 16 tests anew at every
    call; here a problem keeps them, so that the members of a group differ by what they wrote and not by what they were asked.

    A test that runs out of time, memory or output, or that fails with an exception, is a failed test. Where the sandbox itself
    fails the completion is not judged (`Verdict(None, reason)`). Rows of all formats in `known_formats` are understood.

    Args:
        incorrect_score: paid when no test is passed. ASPO: 0, Klear: -1.
        partial_credit: pay for the share of tests passed. False pays for all of them or not at all.
        max_tests: run at most this many tests of a problem, drawn by its id and the seed; 0 runs all. Klear and ASPO: 16.
        seed: decides which.
        field: where the tests are: `answer`, or a metadata column.
        formats: formats of tests to try; null tries all known ones.
        sandbox: runs the programs; the sandbox of this machine by default.
        limits: what one run of a program may use. Klear: 1024 MiB.
        max_timeouts: after this many time-outs the tests that are left count as failed; 0 runs them all the same.
        think_end: only a program after the last occurrence of this marker counts; any when it is absent or this is empty.
        require_stop: a completion that was cut at the length limit is wrong, whatever it says.
        reference_field: `answer` or a metadata column, with a solution that must pass when the data is loaded; empty for none.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        incorrect_score: float = 0.0,
        partial_credit: bool = False,
        max_tests: int = 0,
        seed: int = 0,
        field: str = "answer",
        formats: list[RowFormat] | None = None,
        sandbox: Sandbox | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        max_timeouts: int = 2,
        think_end: str = "</think>",
        require_stop: bool = True,
        reference_field: str = "",
    ) -> None:
        if not incorrect_score < 1:
            raise ValueError(f"incorrect_score must be below 1, the score of a correct program, got {incorrect_score}")
        for name, value in (("max_tests", max_tests), ("max_timeouts", max_timeouts)):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        self.incorrect_score = incorrect_score
        self.partial_credit = partial_credit
        self.max_tests = max_tests
        self.seed = seed
        self.field = field
        self.formats = formats
        self.sandbox = sandbox or LocalSandbox()
        self.limits = limits
        self.max_timeouts = max_timeouts
        self.think_end = think_end
        self.require_stop = require_stop
        self.reference_field = reference_field
        self._tests: RecentResults[tuple[Any, tuple[CodeTest, ...]]] = RecentResults(RECENT)
        self._reports: RecentResults[Report] = RecentResults(RECENT)

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge the completion; see the class for what is right, wrong and an error.

        Raises:
            ValueError: the prompt's tests cannot be read.
        """
        tests = self.tests(prompt)
        if self.require_stop and completion.is_truncated:
            return Verdict(self.incorrect_score, "the completion was cut")
        program = extract_program(completion.text, self.think_end, self.limits.code_bytes)
        if program.problem:
            return Verdict(self.incorrect_score, program.problem)
        report = self._report(program.text, tests)
        if report.error:
            return Verdict(None, report.error)
        return Verdict(self._score(report), f"{report.passed} of {report.total} tests passed. {report.failure}".rstrip(". "))

    def tests(self, prompt: Prompt) -> tuple[CodeTest, ...]:
        """Return the tests that the prompt's programs are judged by.

        Raises:
            ValueError: the tests cannot be read; with the prompt's id, the field and the mend.
        """

        def read() -> tuple[Any, tuple[CodeTest, ...]]:
            found = read_tests(prompt, self.field, self.formats)
            return prompt.metadata, select_tests(found, self.max_tests, self.seed, prompt.id)

        # The metadata is kept with the result, so that its identity belongs to nothing else as long as the key lives.
        return self._tests.get((prompt.id, prompt.answer, id(prompt.metadata)), read)[1]

    def check_gold(self, prompt: Prompt) -> None:
        """Refuse a prompt that could not be judged; for data sets, when they are loaded.

        Raises:
            ValueError: its tests cannot be read, or its reference solution does not pass them.
        """
        tests = self.tests(prompt)
        if not self.reference_field:
            return
        report = run_tests(reference_program(prompt, self.reference_field), tests, self.sandbox, self.limits, self.max_timeouts)
        if not report.is_correct:
            raise ValueError(
                f"prompt {prompt.id!r}: field {self.reference_field!r}: the reference solution passes {report.passed} of "
                f"{report.total} tests ({report.error or report.failure}); correct the tests or `limits`, or leave the prompt out"
            )

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse prompts that could not be judged, all at once.

        Raises:
            ValueError: naming the first of them, each with its field and mend.
        """
        with ThreadPoolExecutor(CHECKED_AT_ONCE, "code-check") as threads:
            problems = [problem for problem in threads.map(self._problem, prompts) if problem]
        if problems:
            first = "\n  ".join(problems[:SHOWN_PROBLEMS])
            raise ValueError(f"{len(problems)} of {len(prompts)} prompts have tests that cannot be used; the first:\n  {first}")

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return the reference solution where there is one, a program that does nothing, and an endless loop."""
        right = fenced(reference_program(prompt, self.reference_field)) if self.reference_field else None
        waits = self.max_timeouts or len(self.tests(prompt))
        limit_s = START_S + waits * self.limits.wall_s
        return SelfTest(right, fenced("pass"), fenced("while True:\n    pass"), limit_s, has_answer=bool(self.tests(prompt)))

    def close(self) -> None:
        """End the sandbox's processes."""
        self.sandbox.close()

    def _problem(self, prompt: Prompt) -> str:
        try:
            self.check_gold(prompt)
        except ValueError as error:
            return str(error)
        return ""

    def _score(self, report: Report) -> float:
        if report.is_correct:
            return 1.0
        share = report.passed / report.total if self.partial_credit else 0.0
        return self.incorrect_score + share * (1 - self.incorrect_score)

    def _report(self, program: str, tests: Sequence[CodeTest]) -> Report:
        return self._reports.get(
            (program, tests),
            lambda: run_tests(program, tests, self.sandbox, self.limits, self.max_timeouts),
            keep=lambda report: not report.error,
        )
