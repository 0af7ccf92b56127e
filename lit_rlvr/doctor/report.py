"""How results look: one line each, in colour on a terminal."""

import time

from rich.console import Console
from rich.text import Text

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, State

LABELS = {State.GREEN: ("green", "bold green"), State.YELLOW: ("yellow", "bold yellow"), State.RED: ("RED", "bold red")}
NAME_WIDTH = 22
INDENT = 2 + 8 + NAME_WIDTH
BLANK = Text(" " * INDENT)
WIDTH = 140
"""Most characters to a line."""


class Printer:
    """Prints results as they come, and a summary."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._console.width = min(self._console.width, WIDTH) if self._console.is_terminal else WIDTH
        self._states: list[State] = []
        self._start = time.monotonic()

    def title(self, text: str) -> None:
        """Print what is examined."""
        self._console.print(text, style="bold")

    def result(self, name: str, finding: Finding) -> None:
        """Print one result; its details only where there is something to look at."""
        self._states.append(finding.state)
        label, style = LABELS[finding.state]
        self._print_hanging(
            Text.assemble("  ", (f"{label:<8}", style), (f"{name:<{NAME_WIDTH}}", "bold")), Text(finding.summary)
        )
        for detail in finding.details:
            if detail and (finding.state != State.GREEN or isinstance(detail, Text)):
                self._print_hanging(BLANK, detail if isinstance(detail, Text) else Text(detail, "dim"))
        if finding.mend and finding.state != State.GREEN:
            self._print_hanging(BLANK, Text(f"mend: {finding.mend}"))

    def check_result(self, check: Check, finding: Finding) -> None:
        """Print the result of a check."""
        self.result(check.name, finding)

    def summary(self) -> None:
        """Print how many of each, and the time it took."""
        counts = [f"{self._states.count(state)} {LABELS[state][0].lower()}" for state in State if state in self._states]
        seconds = time.monotonic() - self._start
        self._console.print(f"\n{', '.join(counts)} in {seconds:.0f} s. Nothing was trained or written.")

    def _print_hanging(self, first: Text, rest: Text) -> None:
        """Print a text behind what its first line begins with; its further lines are indented as far."""
        for number, part in enumerate(rest.wrap(self._console, self._console.width - INDENT)):
            part.rstrip()
            self._console.print(Text.assemble(BLANK if number else first, part))
