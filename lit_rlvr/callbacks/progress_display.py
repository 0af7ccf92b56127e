"""How progress looks: a live bar on a terminal, single lines elsewhere."""

import time
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text


@dataclass
class Progress:
    """What a display shows. The callback writes it, the display reads it."""

    unit: str = ""
    """What the run counts: `iteration` for rollouts, `step` for supervised training; empty when nothing is trained."""
    done: float = 0.0
    """Units finished, fractions included."""
    total: float | None = None
    """Units of the whole run; None when it is unlimited."""
    phase: str = "starting"
    """What is happening now."""
    phase_done: int = 0
    phase_total: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest headline metrics, in the order of display."""
    started: float = field(default_factory=time.monotonic)
    """When this process began to train, in seconds of the monotonic clock."""
    _first: float = 0.0
    _mark: tuple[float, float] | None = None

    def begin(self, done: float) -> None:
        """Start the clock with `done` units behind us, more than 0 when a run is resumed."""
        self.started, self._first, self._mark, self.done = time.monotonic(), done, None, done

    def mark(self) -> None:
        """Remember now as a fair point for estimating the rest (an iteration's end: inside one, its phases differ in speed)."""
        self._mark = (time.monotonic(), self.done)

    @property
    def share(self) -> float | None:
        """Share of the run that is done, None when it is unlimited."""
        return min(self.done / self.total, 1.0) if self.total else None

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.started

    def remaining(self) -> float | None:
        """Estimate the seconds to the end from the marks; None before the first."""
        if self._mark is None or self.total is None or self._mark[1] <= self._first:
            return None
        when, done = self._mark
        per_unit = (when - self.started) / (done - self._first)
        return max(per_unit * (self.total - done) - (time.monotonic() - when), 0.0)

    def position(self) -> str:
        """Return where the run is, such as `iteration 3/20`; empty when nothing is trained."""
        if not self.unit:
            return ""
        current = int(self.done) if self.unit == "step" else int(self.done) + 1
        if self.total is None:
            return f"{self.unit} {current}"
        last = round(self.total) if self.total >= 1 else 1
        return f"{self.unit} {min(current, last)}/{last}"

    def times(self) -> str:
        """Return the elapsed and the remaining time."""
        remaining = self.remaining()
        return clock(self.elapsed()) + ("" if remaining is None else f", {clock(remaining)} left")

    def activity(self) -> str:
        """Return the phase and how far it is."""
        if self.phase_total:
            return f"{self.phase} {self.phase_done}/{self.phase_total}"
        return self.phase

    def headline(self) -> str:
        """Return the metrics on one line."""
        return "  ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())


def clock(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds.

    >>> clock(3725.4)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class TerminalDisplay:
    """A live bar with the phase and the metrics below it. A thread redraws it, so that long rollouts show the time passing.

    Args:
        console: the terminal.
        progress: what to show.
        refresh_per_second: how often it is redrawn.
    """

    def __init__(self, console: Console, progress: Progress, refresh_per_second: float) -> None:
        self.console = console
        self._progress = progress
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=refresh_per_second)

    def start(self) -> None:
        """Show the bar."""
        self._live.start()

    def stop(self) -> None:
        """Draw it a last time and leave it standing."""
        self._live.stop()

    def update(self) -> None:
        """Do nothing: the thread redraws."""

    def _render(self) -> Group:
        progress = self._progress
        share = progress.share
        bar = Bar(total=1.0, completed=share or 0.0, width=40, pulse=share is None)
        first = Table.grid(padding=(0, 1))
        percent = "" if share is None else f"{share:4.0%}"
        first.add_row(Text(progress.position(), style="bold"), bar, percent, Text(progress.times(), style="dim"))
        second = Text.assemble("  ", (progress.activity(), "cyan"), "  " if progress.metrics else "", progress.headline())
        return Group(first, second)


class LineDisplay:
    """Prints a line now and then, for files and pipes.

    Args:
        console: where to print.
        progress: what to print.
        seconds_per_line: print when this long has passed, or another tenth of the run.
    """

    def __init__(self, console: Console, progress: Progress, seconds_per_line: float) -> None:
        self.console = console
        self._progress = progress
        self._seconds_per_line = seconds_per_line
        self._last_time = -float("inf")
        self._last_tenth = -1

    def start(self) -> None:
        """Print the first line."""
        self._last_time, self._last_tenth = -float("inf"), -1
        self.update()

    def stop(self) -> None:
        """Print the last line."""
        self._print()

    def update(self) -> None:
        """Print a line if it is time."""
        tenth = int(10 * (self._progress.share or 0.0) + 1e-9)
        if tenth > self._last_tenth or time.monotonic() - self._last_time >= self._seconds_per_line:
            self._print()

    def _print(self) -> None:
        progress = self._progress
        self._last_time = time.monotonic()
        self._last_tenth = int(10 * (progress.share or 0.0) + 1e-9)
        parts = [progress.position(), progress.activity(), progress.headline(), progress.times()]
        # Not console.print: it would wrap the line at a width that a file does not have.
        self.console.file.write(" | ".join(part for part in parts if part) + "\n")
        self.console.file.flush()
