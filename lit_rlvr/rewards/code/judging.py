"""Running a program on its tests and counting what it passes."""

from collections.abc import Sequence
from dataclasses import dataclass

from lit_rlvr.rewards.code.cases import CodeTest
from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.sandbox import Limits, Outcome, Sandbox


@dataclass(frozen=True)
class Report:
    """What became of a program's tests."""

    passed: int
    """Tests passed."""
    total: int
    """Tests there are, those included that were not run because earlier ones had run out of time."""
    failure: str = ""
    """The first test that failed, shortened and escaped; empty when none did."""
    error: str = ""
    """Why the program could not be judged; then the counts mean nothing."""

    @property
    def is_correct(self) -> bool:
        """True when every test passed."""
        return self.passed == self.total and not self.error


def run_tests(program: str, tests: Sequence[CodeTest], sandbox: Sandbox, limits: Limits, max_timeouts: int) -> Report:
    """Run the program on every test and return how many it passed.

    After `max_timeouts` time-outs the tests that are left count as failed without being run (0: all are run). So that no more
    than that many are ever paid for, tests are handed to the sandbox in lots of as many as may still run out of time. A test that
    could not be judged ends the matter: the report is an error.
    """
    passed, timeouts, failure, start = 0, 0, "", 0
    while start < len(tests) and (not max_timeouts or timeouts < max_timeouts):
        lot = tests[start : start + max_timeouts - timeouts] if max_timeouts else tests
        outcomes = sandbox.run([test.job(program) for test in lot], limits)
        for number, (test, outcome) in enumerate(zip(lot, outcomes, strict=True), start=start + 1):
            if outcome.status == "infra":
                return Report(passed, len(tests), error=f"test {number} could not be judged: {excerpt(outcome.detail, 200)}")
            timeouts += outcome.status == "timeout"
            if outcome.status == "ok" and test.accepts(outcome):
                passed += 1
            elif not failure:
                failure = f"test {number}: {_reason(test, outcome)}"
        start += len(lot)
    return Report(passed, len(tests), failure)


def _reason(test: CodeTest, outcome: Outcome) -> str:
    if outcome.status == "ok":
        return test.difference(outcome)
    return f"{outcome.status}{f' ({excerpt(outcome.detail, 200)})' if outcome.detail else ''}, {test.difference(outcome)}"
