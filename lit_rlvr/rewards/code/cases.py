"""Test cases: what to run, and whether what came back is right. The expected values never enter the sandbox."""

import builtins
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from lit_rlvr.rewards.code.comparison import same_output
from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.rewards.code.values import same_value
from lit_rlvr.sandbox import CONTEST_PRELUDE, Job, Outcome

_BY_NAME = "_call_by_name"


class CodeTest(ABC):
    """One test of a program. Subclasses are frozen dataclasses: equal tests are run once."""

    @abstractmethod
    def job(self, program: str) -> Job:
        """Return the run that this test needs, without anything that tells the right answer."""

    @abstractmethod
    def accepts(self, outcome: Outcome) -> bool:
        """Return whether a run that ended well (`status` ok) gave the right answer. It comes from an untrusted program."""

    @abstractmethod
    def difference(self, outcome: Outcome) -> str:
        """Return what was given, expected and received, shortened and escaped, for the log."""


@dataclass(frozen=True)
class StdioTest(CodeTest):
    """The program reads `input` and must print `output`."""

    input: str
    """All of standard input."""
    output: str
    """All of standard output, compared by `same_output`."""

    def job(self, program: str) -> Job:
        """Run the program as it is."""
        return Job(program, stdin=self.input.encode())

    def accepts(self, outcome: Outcome) -> bool:
        """Compare what was printed."""
        return same_output(self.output.encode(), outcome.stdout)

    def difference(self, outcome: Outcome) -> str:
        """Return input, expected and printed text."""
        return f"input {excerpt(self.input)}: expected {excerpt(self.output)}, got {excerpt(outcome.stdout)}"


@dataclass(frozen=True)
class CallTest(CodeTest):
    """A function of the program must return `expected`.

    Raises:
        ValueError: a field is not JSON, or of the wrong kind.
    """

    function: str
    """Its name, or `Class.method`; a bare name is also looked for in a class `Solution`."""
    arguments: str
    """JSON: a list of arguments, or an object of named ones."""
    expected: str
    """JSON of the value, compared by `same_value`."""
    alternative: str = ""
    """JSON of another value that is right as well; empty for none."""

    def __post_init__(self) -> None:
        """Reject what could never be called or never be matched."""
        if not all(part.isidentifier() for part in self.function.split(".")):
            raise ValueError(f"function {self.function!r} is not a name or `Class.method`")
        if not isinstance(_json("arguments", self.arguments), list | dict):
            raise ValueError(f"arguments {excerpt(self.arguments)} must be a JSON list or object")
        for name, text in (("expected value", self.expected), ("alternative value", self.alternative or "null")):
            _json(name, text)
            if not same_value(text, text):
                raise ValueError(f"{name} {excerpt(text)} could never be matched (not a number, or too deeply nested)")

    def job(self, program: str) -> Job:
        """Call the function behind the usual imports; named arguments go through a function of one argument."""
        if not self.arguments.lstrip().startswith("{"):
            return Job(program, function=self.function, arguments=self.arguments, prelude=CONTEST_PRELUDE)
        owner, _, name = self.function.rpartition(".")
        target = f"{owner}().{name}" if owner else name
        code = f"{program}\n\n\ndef {_BY_NAME}(arguments):\n    return {target}(**arguments)\n"
        return Job(code, function=_BY_NAME, arguments=f"[{self.arguments}]", prelude=CONTEST_PRELUDE)

    def accepts(self, outcome: Outcome) -> bool:
        """Compare what was returned."""
        return same_value(self.expected, outcome.result) or (
            self.alternative != "" and same_value(self.alternative, outcome.result)
        )

    def difference(self, outcome: Outcome) -> str:
        """Return call, expected and returned value."""
        call = f"{self.function}{excerpt(self.arguments)}"
        return f"{call}: expected {excerpt(self.expected)}, got {excerpt(outcome.result)}"


@dataclass(frozen=True)
class AssertTest(CodeTest):
    """A script of assertions about the program's functions must run to its end. It runs in a process of its own."""

    script: str
    """Python; names that it does not define are the program's functions."""
    candidate: str = ""
    """What the script calls `candidate`, an expression of the program: `add` or `Solution().add`. Empty for nothing."""

    def job(self, program: str) -> Job:
        """Run the script against the program behind the usual imports."""
        if not self.candidate:
            return Job(program, asserts=self.script, prelude=CONTEST_PRELUDE)
        hidden = self.candidate if hasattr(builtins, self.candidate) else ""
        script = f"candidate = {self.candidate}\n{self.script}"
        return Job(program, asserts=script, function=hidden, prelude=CONTEST_PRELUDE)

    def accepts(self, outcome: Outcome) -> bool:
        """Ask whether the script ran to its end."""
        return outcome.passed

    def difference(self, outcome: Outcome) -> str:
        """Return the end of the script."""
        return f"assertions {excerpt(self.script[-200:], 200)}"


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} {excerpt(text)} is not JSON ({error})") from error
