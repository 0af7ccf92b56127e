"""Figures of the training dynamics: which panels they have, and what they leave out."""

from logged_runs import log_run, png_size

from lit_rlvr.report import Curves, dynamics, panels, read_run

ARCHER = "train/clip_fraction_of_low_entropy"


def panels_in(path):
    """How many panels of 2.2 inches a figure has."""
    return round((png_size(path)[1] / 150 - 0.4) / 2.2, 2)


def test_dynamics_get_a_panel_per_kind_and_in_a_comparison_one_per_metric(tmp_path):
    one = {"": read_run(log_run(tmp_path))}
    two = {"a": one[""], "b": read_run(log_run(tmp_path, name="other", lift=0.1))}
    out = tmp_path / "figures.png"
    assert panels_in(dynamics.draw_importance_ratio(one, out)) == 2
    assert panels_in(dynamics.draw_importance_ratio(two, out)) == 6
    assert panels_in(dynamics.draw_kl(one, out)) == 3


def test_clip_fractions_stand_by_bound_without_the_sign_that_is_never_clipped(tmp_path):
    assert dynamics.clip_panels({"": read_run(log_run(tmp_path))}) == {
        "clip fraction high": {
            "train/clip_fraction_high": "of all tokens",
            "train/clip_fraction_high_positive": "of tokens with A > 0",
        },
        "clip fraction low": {
            "train/clip_fraction_low": "of all tokens",
            "train/clip_fraction_low_negative": "of tokens with A < 0",
        },
        "dual clip fraction": {"train/dual_clip_fraction_negative": "of tokens with A < 0"},
    }


def test_headings_name_the_metric_where_colours_name_the_run():
    wanted = {"tokens": {"train/a": "all", "train/b": "A > 0"}, "": {"train/c": "none"}}
    assert panels.one_panel_each({"": Curves()}, wanted) == wanted
    assert panels.one_panel_each({"x": Curves(), "y": Curves()}, wanted) == {
        "tokens: all": {"train/a": "all"},
        "tokens: A > 0": {"train/b": "A > 0"},
        "none": {"train/c": "none"},
    }


def test_what_of_the_dynamics_was_not_logged_is_not_drawn(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        f"step,epoch,rollout/pass_rate_0,train/kl_ref_k3,{ARCHER}\n0,0,0.5,0.1,0\n1,1,0.25,0.2,0\n"
    )
    runs = {"": read_run(tmp_path)}
    assert dynamics.draw_pass_rates(runs, tmp_path / "x.png") is None
    assert dynamics.draw_repetition(runs, tmp_path / "x.png") is None
    assert dynamics.draw_importance_ratio(runs, tmp_path / "x.png") is None
    assert dynamics.clip_panels(runs) == {"clip fraction of low entropy": {ARCHER: "of the tokens it applies to"}}
    assert not (tmp_path / "x.png").exists()
    assert dynamics.draw_kl(runs, tmp_path / "x.png") == tmp_path / "x.png"
