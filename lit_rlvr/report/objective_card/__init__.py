"""The card of an objective: what it does to a token, as a table, figures and numbers."""

from lit_rlvr.report.objective_card.curve import Curve, Kink, trace
from lit_rlvr.report.objective_card.figure import draw_push, draw_weights
from lit_rlvr.report.objective_card.gallery import draw_gallery
from lit_rlvr.report.objective_card.measurement import CASES, Case, Measurement, measure
from lit_rlvr.report.objective_card.numbers import write_push, write_weights
from lit_rlvr.report.objective_card.table import weight_table

__all__ = [
    "CASES",
    "Case",
    "Curve",
    "Kink",
    "Measurement",
    "draw_gallery",
    "draw_push",
    "draw_weights",
    "measure",
    "trace",
    "weight_table",
    "write_push",
    "write_weights",
]
