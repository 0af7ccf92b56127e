"""The report of a run: curves, figures, summary."""

from lit_rlvr.report.curves import Curves, Point, read_run
from lit_rlvr.report.figures import draw_before_after, draw_comparison, draw_run
from lit_rlvr.report.summary import print_summary, read_estimates, read_result, write_result

__all__ = [
    "Curves",
    "Point",
    "draw_before_after",
    "draw_comparison",
    "draw_run",
    "print_summary",
    "read_estimates",
    "read_result",
    "read_run",
    "write_result",
]
