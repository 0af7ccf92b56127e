"""The card of an objective: curves, kinks and jumps, numbers and figures, against closed forms."""

import csv
import math
from dataclasses import dataclass
from itertools import pairwise

import matplotlib.image
import pytest
import torch
from matplotlib.figure import Figure

from lit_rlvr.objectives import ASPO, CISPO, GPPO, GRPO, ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.gradient import gradient_weight
from lit_rlvr.report.objective_card import (
    Case,
    draw_gallery,
    draw_push,
    draw_weights,
    measure,
    panels,
    trace,
    weight_table,
    write_push,
    write_weights,
)
from lit_rlvr.report.objective_card.table import cell, rows

UP, DOWN = Case(1.0, False), Case(-1.0, False)


@dataclass(frozen=True)
class Steps(PolicyObjective):
    """A weight of 2 for positive tokens of high entropy below ratio 3, else 1; 4 above ratio 7 for negative ones."""

    def __call__(self, x: ObjectiveInputs):
        is_high = x.entropy > x.entropy.mean()
        up = torch.where(is_high & (x.ratio.detach() < 3), 2.0, 1.0)
        down = torch.where(x.ratio.detach() > 7, 4.0, 1.0)
        return -x.advantages * torch.where(x.advantages > 0, up, down) * x.logprobs, {}


class NotANumber(PolicyObjective):
    def __call__(self, x: ObjectiveInputs):
        return -x.advantages * x.logprobs * torch.where(x.ratio.detach() > 2, torch.nan, 1.0), {}


@dataclass(frozen=True)
class ResponseMean(PolicyObjective):
    def __call__(self, x: ObjectiveInputs):
        return -x.advantages * x.ratio.detach().mean(dim=1, keepdim=True) * x.logprobs, {}


class Broken(PolicyObjective):
    def __call__(self, x: ObjectiveInputs):
        raise RuntimeError("no beta given")


class Constant(PolicyObjective):
    def __call__(self, x: ObjectiveInputs):
        return torch.zeros_like(x.advantages), {}


@pytest.fixture(scope="module")
def measured():
    return {type(o).__name__: measure(type(o).__name__, o) for o in (GRPO(), GPPO(dual_clip=10), CISPO(), ASPO(), Steps())}


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_trace_finds_kinks_and_jumps_where_they_are():
    curve = trace(lambda x: torch.where(x < 0.3, 1.0, torch.where(x < 2, 1 + (x - 0.3), 5 / x)), 0.01, 20, at=[0.3, 1.0])
    kink, jump = curve.kinks
    assert kink.x == pytest.approx(0.3, rel=1e-6)
    assert not kink.is_jump
    assert (jump.x, jump.below, jump.above) == pytest.approx((2, 2.7, 2.5), rel=1e-5)
    assert curve.jumps == (jump,)
    assert 1.0 in curve.x
    assert list(curve.x) == sorted(curve.x)


def test_trace_of_a_smooth_curve_has_no_kinks():
    for smooth in (lambda x: x, lambda x: 1 / x, lambda x: 4 * torch.sigmoid(9 * (x - 1)) * torch.sigmoid(9 * (1 - x))):
        assert trace(smooth, 0.01, 20).kinks == ()
    assert trace(lambda x: x.float().double(), 0.01, 20).kinks == (), "single precision is no kink"


def test_segments_end_at_the_jumps_and_lose_no_point():
    curve = trace(lambda x: torch.where(x < 0.5, 0.0, torch.where(x < 3, 1.0, 0.0)), 0.01, 20)
    segments = curve.segments
    assert [{*y} for _, y in segments] == [{0.0}, {1.0}, {0.0}]
    assert sum(len(x) for x, _ in segments) == len(curve.x)
    assert segments[0][0][-1] == pytest.approx(0.5, rel=1e-5)
    assert segments[1][0][0] == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "case", "kinks", "jumps"),
    [
        ("GRPO", UP, [1.2], [1.2]),
        ("GRPO", DOWN, [0.8], [0.8]),
        ("GPPO", UP, [1.28], []),
        ("GPPO", DOWN, [0.8, 10], [10]),
        ("CISPO", UP, [0.8, 1.28], []),
        ("ASPO", UP, [1 / 3, 1.2], [1.2]),
        ("ASPO", DOWN, [0.8, 3], [0.8]),
    ],
)
def test_kinks_of_the_objectives(measured, name, case, kinks, jumps):
    curve = measured[name].weights[case]
    assert [kink.x for kink in curve.kinks] == pytest.approx(kinks, rel=1e-6)
    assert [jump.x for jump in curve.jumps] == pytest.approx(jumps, rel=1e-6)


def closed_form(name, advantage, r):
    """`w` as the papers have it, written down a second time."""
    if name == "GRPO":
        return 0.0 if (advantage > 0 and r > 1.2) or (advantage < 0 and r < 0.8) else r
    if name == "GPPO":
        return min(r, 1.28) if advantage > 0 else 0.0 if r > 10 else max(r, 0.8)
    if name == "ASPO":
        return (0.0 if r > 1.2 else min(1 / r, 3.0)) if advantage > 0 else 0.0 if r < 0.8 else min(r, 3.0)
    return min(max(r, 0.8), 1.28)


def test_numbers_of_the_weights_are_the_closed_form(measured, tmp_path):
    names = ("GRPO", "GPPO", "CISPO", "ASPO")
    table = read(write_weights([measured[name] for name in names], tmp_path / "deep" / "w.csv"))
    assert {(row["objective"], row["advantage"]) for row in table} == {(name, sign) for name in names for sign in ("+1", "-1")}
    assert {row["entropy"] for row in table} == {"any"}
    assert {"0.01", "0.5", "1", "5", "10"} <= {row["ratio"] for row in table if row["objective"] == "CISPO"}
    for row in table:
        expected = closed_form(row["objective"], float(row["advantage"]), float(row["ratio"]))
        assert float(row["weight"]) == pytest.approx(expected, rel=1e-6, abs=1e-12), row


def test_numbers_of_the_push_are_the_closed_form(measured, tmp_path):
    table = read(write_push([measured["GRPO"], measured["ASPO"]], tmp_path / "p.csv"))
    held = {row["old_probability"] for row in table if row["old_probability"] == "0.1"}
    assert held
    for row in table:
        p, p_old = float(row["probability"]), float(row["old_probability"])
        assert p_old <= 1.00001
        expected = closed_form(row["objective"], float(row["advantage"]), p / p_old) * (1 - p)
        assert float(row["push"]) == pytest.approx(expected, rel=1e-5, abs=1e-9), row


def test_the_push_tells_the_objectives_apart(measured):
    """A right token that fell from 0.1 to about 0.01: r = 0.1, times 0.99."""

    def push(name, case, p):
        curve = measured[name].push[case]
        return min(zip(curve.x, curve.y, strict=True), key=lambda point: abs(point[0] - p))[1]

    assert push("GRPO", UP, 0.01) == pytest.approx(0.1 * 0.99, rel=0.02)
    assert push("CISPO", UP, 0.01) == pytest.approx(0.8 * 0.99, rel=0.02)
    assert push("ASPO", UP, 0.01) == pytest.approx(3 * 0.99, rel=0.02)
    assert (push("GRPO", DOWN, 0.01), push("GPPO", DOWN, 0.01)) == pytest.approx((0, 0.8 * 0.99), rel=0.02)


def test_entropy_classes_are_shown_where_they_differ(measured):
    assert not measured["GRPO"].depends_on_entropy
    steps = measured["Steps"]
    assert steps.depends_on_entropy
    assert [jump.x for jump in steps.weights[Case(1.0, True)].jumps] == pytest.approx([3], rel=1e-6)
    assert steps.weights[Case(1.0, False)].kinks == ()
    headings = [str(column.header) for column in weight_table([measured["GRPO"], steps]).columns]
    assert headings[:3] == ["r", "GRPO\nA > 0", "GRPO\nA < 0"]
    assert headings[5] == "Steps\nA > 0\nhigh entropy"


def test_a_weight_that_is_no_number_is_shown_as_such(tmp_path):
    one = measure("nan", NotANumber())
    assert not one.depends_on_entropy
    assert (cell(one, UP, 1.0), cell(one, UP, 5.0)) == ("1", "nan")
    assert draw_weights([one], tmp_path / "nan.png").is_file()
    assert {row["weight"] for row in read(write_weights([one], tmp_path / "nan.csv"))} == {"1", "nan"}


def test_objectives_that_look_at_the_whole_response_are_known(measured):
    assert not any(one.depends_on_response for one in measured.values())
    assert measure("mean", ResponseMean()).depends_on_response


def test_table_shows_both_sides_of_a_jump_and_the_kinks_of_all(measured):
    both = [measured["GRPO"], measured["GPPO"]]
    ratios = rows(both)
    assert [f"{ratio:.5g}" for ratio in ratios if 1 < ratio < 2] == ["1.2", "1.28"]
    assert len(ratios) == len({f"{ratio:.5g}" for ratio in ratios})
    assert cell(measured["GRPO"], UP, 1.2) == "1.2 → 0"
    assert cell(measured["GRPO"], DOWN, 0.8) == "0 → 0.8"
    assert cell(measured["GPPO"], UP, 5.0) == "1.28"
    assert cell(measured["GRPO"], UP, 5.0) == "0"
    assert weight_table(both).row_count == len(ratios)


def test_no_line_is_drawn_across_a_jump(measured):
    axes = Figure().subplots()
    panels.draw_curve(axes, measured["GRPO"].weights[UP], panels.Look("#000000"), "GRPO")
    lines = [line.get_xydata().tolist() for line in axes.lines]
    steps = [(a, b) for points in lines for a, b in pairwise(points) if abs(a[1] - b[1]) > 0.5]
    assert [a[0] - b[0] for a, b in steps if b[0] < 10] == [0.0], "the one vertical, dotted connection"
    assert all(line.get_linestyle() != "-" for line in axes.lines if len(line.get_xydata()) == 2)
    assert [line.get_label() for line in axes.lines].count("GRPO") == 1


def test_looks_of_curves_that_coincide_differ():
    looks = panels.looks(5)
    assert (
        len({look.color for look in looks}) == len({look.dashes for look in looks}) == len({look.width for look in looks}) == 5
    )
    assert [look.width for look in looks] == sorted((look.width for look in looks), reverse=True)


def test_figures(measured, tmp_path):
    alone, together = [measured["GPPO"]], list(measured.values())
    sizes = {}
    for name, path in {
        "weight": draw_weights(alone, tmp_path / "a" / "weight.png"),
        "push": draw_push(alone, tmp_path / "a" / "push.png"),
        "weights": draw_weights(together, tmp_path / "weights.png"),
        "pushes": draw_push(together, tmp_path / "pushes.png"),
        "gallery": draw_gallery(together, tmp_path / "gallery.png"),
    }.items():
        image = matplotlib.image.imread(path)
        sizes[name] = image.shape[:2]
        assert image[..., :3].std() > 0.02
    assert sizes["weights"][0] > 1.5 * sizes["weight"][0], "entropy classes get panels of their own in a comparison"
    assert sizes["gallery"][1] == 1800


def test_an_objective_that_raises_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"Broken raised RuntimeError: no beta given \(.*test_objective_card.py, line \d+\)"):
        measure("broken", Broken())
    with pytest.raises(ValueError, match=r"Constant raised RuntimeError: .*in the gradient of the loss that .*test_objective"):
        measure("constant", Constant())


def test_ratios_are_those_of_gradient_weight(measured):
    ratio = torch.tensor([0.3, 4.0], dtype=torch.float64)
    assert measured["ASPO"].weight(ratio, UP).tolist() == gradient_weight(ASPO(), ratio, 1.0).tolist()
    assert math.isclose(measured["ASPO"].weight(ratio, UP)[0].item(), 3.0)
