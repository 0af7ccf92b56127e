"""The files of `configs/objective` and `configs/hardware`: what each resolves to, alone and after another."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

import lit_rlvr.objectives
from lit_rlvr.data.settings import IterationConfig
from lit_rlvr.objectives import PolicyObjective

CONFIGS = Path(__file__).parents[2] / "configs"

QUICKSTART = str(CONFIGS / "quickstart" / "rl.yaml")

CLIP = {"clip_low": 0.2, "clip_high": 0.2}
HIGHER = {"clip_low": 0.2, "clip_high": 0.28}
ASPO = {**CLIP, "dual_clip": 3.0, "soft_negative_dual_clip": True}
OBJECTIVES = {
    "grpo": ("GRPO", {**CLIP, "dual_clip": None}),
    "dapo": ("GRPO", {**HIGHER, "dual_clip": None}),
    "dr_grpo": ("GRPO", {**CLIP, "dual_clip": None}),
    "gppo": ("GPPO", {**HIGHER, "beta1": 1.0, "beta2": 1.0, "dual_clip": None}),
    "gppo_code": ("GPPO", {**HIGHER, "beta1": 1.0, "beta2": 1.0, "dual_clip": 10.0}),
    "ce_gppo": ("GPPO", {**CLIP, "beta1": 0.5, "beta2": 1.0, "dual_clip": None}),
    "cispo": ("CISPO", HIGHER),
    "cispo_minimax": ("CISPO", {"clip_low": None, "clip_high": 4.0}),
    "aspo": ("ASPO", {**ASPO, "high_entropy": None}),
    "aspo_code": ("ASPO", {**ASPO, "high_entropy": {"clip_low": 0.4, "clip_high": 0.4, "quantile": 0.8}}),
    "archer": ("Archer", {**CLIP, "high_entropy": {"clip_low": 0.5, "clip_high": 0.5, "quantile": 0.8}, "dual_clip": None}),
    "gspo": ("GSPO", {"clip_low": 3e-4, "clip_high": 4e-4}),
    "no_is": ("NoImportanceSampling", {"keep_clip_mask": True, **CLIP}),
    "positive_mean_is": ("PositiveMeanIS", {"mean": "arithmetic", "keep_clip_mask": True, **CLIP}),
    "reinforce": ("REINFORCE", {"importance_weight": False}),
    "rloo": ("REINFORCE", {"importance_weight": False}),
}
MOVED = {
    "mean": "geometric",
    "keep_clip_mask": False,
    "soft_negative_dual_clip": False,
    "importance_weight": True,
    "high_entropy": {"clip_low": 7.5, "clip_high": 7.5, "quantile": 7.5},
}
"""Values of the settings that are not numbers, other than every overlay's."""


@pytest.fixture
def resolve_rl(lit_rlvr: Callable[..., Any]) -> Callable[..., Any]:
    """`resolve_rl("-c", ...)`: the resolved configuration of `lit-rlvr rl fit` over the quickstart."""
    return lambda *args: lit_rlvr("rl", "fit", "-c", QUICKSTART, *args, "--print_config").config


def overlay(name: str) -> str:
    return str(CONFIGS / "objective" / f"{name}.yaml")


def test_every_objective_overlay_is_tested():
    assert {path.stem for path in (CONFIGS / "objective").glob("*.yaml")} == set(OBJECTIVES)


def test_every_objective_has_an_overlay():
    assert {name for name, _ in OBJECTIVES.values()} == {
        name for name, cls in vars(lit_rlvr.objectives).items() if inspect.isclass(cls) and issubclass(cls, PolicyObjective)
    } - {"PolicyObjective"}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_overlay_gives_every_setting_of_its_class(name):
    objective = yaml.safe_load(Path(overlay(name)).read_text())["model"]["init_args"]["objective"]
    module, _, class_name = objective["class_path"].rpartition(".")
    assert set(objective["init_args"]) == {field.name for field in fields(getattr(import_module(module), class_name))}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_overlay_resolves_to_the_published_values(resolve_rl, name):
    class_name, settings = OBJECTIVES[name]
    objective = resolve_rl("-c", overlay(name))["model"]["init_args"]["objective"]
    assert objective == {"class_path": f"lit_rlvr.objectives.{class_name}", "init_args": settings}


@pytest.mark.parametrize("top", OBJECTIVES)
def test_nothing_is_left_over_from_the_overlays_below(resolve_rl, tmp_path, top):
    """Below lie all the other overlays, with every setting moved; on top is this one as shipped."""
    layers = []
    for name in OBJECTIVES:
        below = yaml.safe_load(Path(overlay(name)).read_text())
        settings = below["model"]["init_args"]["objective"]["init_args"]
        settings.update({key: MOVED.get(key, 7.5) for key in settings})
        (tmp_path / f"moved_{name}.yaml").write_text(yaml.safe_dump(below))
        layers += ["-c", f"moved_{name}.yaml"] if name != top else []
    class_name, settings = OBJECTIVES[top]
    objective = resolve_rl(*layers, "-c", overlay(top))["model"]["init_args"]["objective"]
    assert objective == {"class_path": f"lit_rlvr.objectives.{class_name}", "init_args": settings}


def test_parts_that_are_not_the_objective(resolve_rl):
    data = {name: resolve_rl("-c", overlay(name))["data"]["init_args"] for name in ("gspo", "rloo", "dr_grpo")}
    assert (data["gspo"]["iteration"]["reduction"], data["gspo"]["iteration"]["divisor"]) == ("seq-mean-token-mean", None)
    assert data["rloo"]["advantages"]["class_path"] == "lit_rlvr.advantages.LeaveOneOut"
    assert data["dr_grpo"]["advantages"]["class_path"] == "lit_rlvr.advantages.DrGRPO"
    iteration = data["dr_grpo"]["iteration"]
    completions = iteration["num_prompts"] * iteration["group_size"] / iteration["num_mini_batches"]
    assert iteration["reduction"] == "constant"
    assert iteration["divisor"] == completions * data["dr_grpo"]["sampling"]["max_tokens"]
    (term,) = resolve_rl("-c", overlay("archer"))["model"]["init_args"]["terms"]
    assert term["class_path"] == "lit_rlvr.modules.KLPenalty"
    assert term["init_args"]["coefficient"] == 0.001
    assert term["init_args"]["high_entropy_coefficient"] == 0.0


@pytest.mark.parametrize("below", ["gspo", "dr_grpo"])
@pytest.mark.parametrize("top", ["gspo", "dr_grpo"])
def test_a_reduction_leaves_no_divisor_to_another(resolve_rl, below, top):
    iteration = resolve_rl("-c", overlay(below), "-c", overlay(top))["data"]["init_args"]["iteration"]
    IterationConfig(**iteration).require_divisor(max_tokens=80)


@pytest.mark.parametrize(
    ("name", "accelerator", "devices", "strategy", "precision"),
    [
        ("laptop", "cpu", 1, "auto", "32-true"),
        ("one_gpu", "gpu", 1, "auto", "bf16-mixed"),
        ("eight_gpus", "gpu", 8, "ddp", "bf16-mixed"),
    ],
)
def test_hardware_overlay(resolve, name, accelerator, devices, strategy, precision):
    path = CONFIGS / "hardware" / f"{name}.yaml"
    assert list(yaml.safe_load(path.read_text())) == ["trainer"]
    trainer = resolve("-c", "base.yaml", "-c", str(path))["trainer"]
    assert [trainer[k] for k in ("accelerator", "devices", "strategy", "precision")] == [
        accelerator,
        devices,
        strategy,
        precision,
    ]
    assert trainer["max_epochs"] == 1


def test_one_and_eight_gpus_make_the_same_micro_batches():
    one, eight = (
        yaml.safe_load((CONFIGS / "hardware" / f"{n}.yaml").read_text())["trainer"] for n in ("one_gpu", "eight_gpus")
    )
    assert one["devices"] * one["accumulate_grad_batches"] == eight["devices"] * eight["accumulate_grad_batches"]
