"""The files of `configs/objective` and `configs/hardware`: what each resolves to, alone and after another."""

from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

CONFIGS = Path(__file__).parents[2] / "configs"

OBJECTIVES = {
    "grpo": ("GRPO", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": None}),
    "dapo": ("GRPO", {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": None}),
    "gppo": ("GPPO", {"clip_low": 0.2, "clip_high": 0.28, "beta1": 1.0, "beta2": 1.0, "dual_clip": None}),
    "cispo": ("CISPO", {"clip_low": 0.2, "clip_high": 0.28}),
    "aspo": ("ASPO", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0, "soft_negative_dual_clip": True}),
    "no_is": ("NoImportanceSampling", {"keep_clip_mask": True, "clip_low": 0.2, "clip_high": 0.2}),
}


def overlay(name: str) -> str:
    return str(CONFIGS / "objective" / f"{name}.yaml")


def test_every_objective_overlay_is_tested():
    assert {path.stem for path in (CONFIGS / "objective").glob("*.yaml")} == set(OBJECTIVES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_overlay_gives_every_setting_of_its_class(name):
    objective = yaml.safe_load(Path(overlay(name)).read_text())["model"]["init_args"]["objective"]
    module, _, class_name = objective["class_path"].rpartition(".")
    assert set(objective["init_args"]) == {field.name for field in fields(getattr(import_module(module), class_name))}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_overlay_resolves_to_the_published_values(resolve, name):
    class_name, settings = OBJECTIVES[name]
    objective = resolve("-c", "base.yaml", "-c", overlay(name))["model"]["init_args"]["objective"]
    assert objective == {"class_path": f"lit_rlvr.objectives.{class_name}", "init_args": settings}


@pytest.mark.parametrize("top", OBJECTIVES)
def test_nothing_is_left_over_from_the_overlays_below(resolve, tmp_path, top):
    """Below lie all the other overlays, with every number moved; on top is this one as shipped."""
    layers = ["-c", "base.yaml"]
    for name in OBJECTIVES:
        below = yaml.safe_load(Path(overlay(name)).read_text())
        settings = below["model"]["init_args"]["objective"]["init_args"]
        settings.update({key: not value if isinstance(value, bool) else 7.5 for key, value in settings.items()})
        (tmp_path / f"moved_{name}.yaml").write_text(yaml.safe_dump(below))
        layers += ["-c", f"moved_{name}.yaml"] if name != top else []
    class_name, settings = OBJECTIVES[top]
    objective = resolve(*layers, "-c", overlay(top))["model"]["init_args"]["objective"]
    assert objective == {"class_path": f"lit_rlvr.objectives.{class_name}", "init_args": settings}


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
