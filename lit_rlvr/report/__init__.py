"""The report of a run: curves, figures, summary, and the lens on its tokens."""

from lit_rlvr.report.curves import Curves, Point, read_run
from lit_rlvr.report.figures import draw_before_after, draw_comparison, draw_run
from lit_rlvr.report.summary import print_summary, read_estimates, read_result, write_result
from lit_rlvr.report.token_lens import lens, summarize
from lit_rlvr.report.token_lens_page import write_lens
from lit_rlvr.report.token_records import TokenRecord, read_tokens

__all__ = [
    "Curves",
    "Point",
    "TokenRecord",
    "draw_before_after",
    "draw_comparison",
    "draw_run",
    "lens",
    "print_summary",
    "read_estimates",
    "read_result",
    "read_run",
    "read_tokens",
    "summarize",
    "write_lens",
    "write_result",
]
