"""Figures from metrics.csv files as Lightning writes them, stitched versions included."""

import doctest

import pytest
from lightning.pytorch.loggers import CSVLogger
from logged_runs import log_run, png_size

from lit_rlvr.metrics import Estimate
from lit_rlvr.report import Curves, Point, draw_before_after, draw_comparison, draw_run, read_run, style


def test_doctests():
    assert doctest.testmod(style).failed == 0


def test_iterations_count_what_the_policy_had_learned(tmp_path):
    curves = read_run(log_run(tmp_path))
    x, _ = curves.by_iteration("rollout/reward")
    assert x == list(range(12))
    x, y = curves.by_iteration("val/avg@8")
    assert x == [0, 3, 6, 9, 12]
    assert y == pytest.approx([0.1, 0.25, 0.4, 0.55, 0.7])
    assert curves.by_iteration("train/entropy")[0] == list(range(1, 13))
    assert curves.by_step("val/avg@8")[0] == [0, 6, 12, 18, 24]


def test_several_values_of_an_iteration_are_averaged():
    rows = {"train/loss": (Point(0, 0, 1.0), Point(1, 0, 3.0), Point(2, 1, 5.0))}
    assert Curves(rows).by_iteration("train/loss") == ([1.0, 2.0], [2.0, 5.0])


def test_a_validation_after_the_training_stands_at_its_end():
    rows = {"rollout/reward": (Point(1, 0, 0.0), Point(3, 1, 0.0)), "val/avg@8": (Point(4, 2, 0.5),)}
    assert Curves(rows).by_iteration("val/avg@8") == ([2.0], [0.5])


def test_versions_of_a_resumed_run_are_stitched(tmp_path):
    """The first process reached iteration 8, its last checkpoint was at 6."""
    whole = read_run(log_run(tmp_path, name="whole"))
    stitched = read_run(log_run(tmp_path, versions=((0, 8), (6, 12)), name="stitched"))
    assert (tmp_path / "stitched/version_1/metrics.csv").exists()
    assert stitched == whole


def test_versions_are_ordered_as_numbers(tmp_path):
    for version in (2, 10):
        (tmp_path / f"version_{version}").mkdir()
        (tmp_path / f"version_{version}/metrics.csv").write_text(f"step,epoch,a\n0,0,{version}\n")
    assert read_run(tmp_path).by_step("a") == ([0.0], [10.0])


def test_remote_runs_can_be_read():
    logger = CSVLogger("memory://report-test", name="run")
    logger.log_metrics({"rollout/reward": 0.5, "epoch": 0}, step=1)
    logger.save()
    assert read_run("memory://report-test/run").by_step("rollout/reward") == ([1.0], [0.5])
    assert read_run("memory://report-test") == read_run("memory://report-test/run/version_0")


def test_empty_and_infinite_cells_are_left_out_and_broken_ones_named(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,a,b\n0,0,nan,1\n1,0,,2\n2,0,inf,\n")
    curves = read_run(tmp_path)
    assert "a" not in curves
    assert curves.by_step("b") == ([0.0, 1.0], [1.0, 2.0])
    path.write_text("step,epoch,a\n0,0,1\n1,0,oops\n")
    with pytest.raises(ValueError, match=r"metrics.csv, line 3: .*oops"):
        read_run(tmp_path)


def test_where_nothing_can_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="CSVLogger"):
        read_run(tmp_path)
    log_run(tmp_path, name="one")
    log_run(tmp_path, name="two")
    with pytest.raises(ValueError, match="several runs"):
        read_run(tmp_path)


def test_a_run_gets_all_figures(tmp_path):
    written = draw_run(log_run(tmp_path), tmp_path / "figures")
    assert [path.stem for path in written] == [
        "accuracy",
        "reward",
        "loss",
        "entropy",
        "importance_ratio",
        "clip_fractions",
        "zero_gradient",
        "kl",
        "length",
        "repetition",
        "pass_rates",
        "gradient_norm",
    ]
    for path in written:
        width, height, num_bytes = png_size(path)
        assert 800 <= width <= 1600
        assert 400 <= height <= 1600
        assert 8_000 < num_bytes < 400_000


def test_missing_metrics_are_skipped_with_a_note(tmp_path, caplog):
    (tmp_path / "metrics.csv").write_text("step,epoch,train/loss\n0,0,2.5\n1,0,2.0\n")
    with caplog.at_level("INFO"):
        written = draw_run(tmp_path, tmp_path / "figures")
    assert [path.stem for path in written] == ["loss"]
    assert "no figure accuracy" in caplog.text


def test_long_runs_and_comparisons(tmp_path):
    runs = {
        "GRPO": log_run(tmp_path, versions=((0, 200),), name="grpo", points=200),
        "GPPO": log_run(tmp_path, versions=((0, 200),), name="gppo", lift=0.1, points=200),
    }
    written = draw_comparison(runs, tmp_path / "figures")
    assert len(written) == 12
    for path in written:
        assert png_size(path)[2] > 8_000


def test_before_and_after(tmp_path):
    before = {"avg@8": Estimate(0.12, 0.08, 0.17), "pass@8": Estimate(0.3, 0.2, 0.42), "greedy": Estimate(0.0, 0.0, 0.07)}
    after = {"avg@8": Estimate(0.81, 0.75, 0.86), "pass@8": Estimate(0.99, 0.9, 1.0), "greedy": Estimate(0.84, 0.75, 0.9)}
    assert png_size(draw_before_after(before, after, tmp_path / "deep/before_after.png"))[2] > 8_000
    with pytest.raises(ValueError, match="nothing to compare"):
        draw_before_after({"a": before["avg@8"]}, after, tmp_path / "x.png")
