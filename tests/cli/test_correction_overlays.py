"""The files of `configs/correction`: what each resolves to, alone and over the others."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

from lit_rlvr.rollout_correction import TruncatedImportanceSampling

CONFIGS = Path(__file__).parents[2] / "configs"
FOLDER = CONFIGS / "correction"

CORRECTIONS = {
    "token_tis": TruncatedImportanceSampling("token", "truncate", cap=2.0),
    "sequence_tis": TruncatedImportanceSampling("sequence", "truncate", cap=2.0),
    "icepop": TruncatedImportanceSampling("token", "mask", cap=5.0, floor=0.5),
    "sequence_mask": TruncatedImportanceSampling("sequence", "mask", cap=2.0),
}


def test_every_correction_overlay_is_tested():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(CORRECTIONS)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_overlay_gives_every_setting_and_nothing_else(name):
    overlay = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    (settings,) = overlay.pop("data").pop("init_args").values()
    assert not overlay
    assert set(settings) == {field.name for field in fields(TruncatedImportanceSampling)}


@pytest.mark.parametrize("top", CORRECTIONS)
def test_the_overlay_on_top_decides(lit_rlvr, top):
    """Through the command line that trains: the others lie below, and leave nothing."""
    files = [CONFIGS / "quickstart" / "rl.yaml", *(FOLDER / f"{name}.yaml" for name in CORRECTIONS if name != top)]
    layers = [part for file in [*files, FOLDER / f"{top}.yaml"] for part in ("-c", str(file))]
    config = lit_rlvr("rl", "fit", *layers, "--print_config").config
    assert config["data"]["init_args"]["rollout_correction"] == asdict(CORRECTIONS[top])
