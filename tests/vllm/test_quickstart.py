"""The quickstart with vLLM in place of the embedded engine: one line of YAML, the same bar."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from learning_configs import ITERATIONS, demonstrations, learning

CONFIGS = Path(__file__).parents[2] / "configs"


def lit_rlvr(verb: str, subcommand: str, config: Path, layer: dict[str, Any], folder: Path, *flags: str) -> None:
    """Run the command line in a process of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "layer.yaml").write_text(yaml.safe_dump(layer))
    command = [sys.executable, "-m", "lit_rlvr.cli", verb, subcommand, "-c", str(config), "-c", str(folder / "layer.yaml")]
    result = subprocess.run(
        [*command, f"--trainer.default_root_dir={folder}", *flags], capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, result.stderr[-3000:]


def history(folder: Path, name: str) -> list[float]:
    with open(folder / "logs/version_0/metrics.csv") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model after the quickstart's supervised start, shortened: half of its demonstrations were terse."""
    from lit_rlvr.tasks.tiny_model import make_model

    folder = tmp_path_factory.mktemp("demonstrated")
    make_model(str(folder / "base"))
    lit_rlvr("sft", "fit", CONFIGS / "quickstart/sft.yaml", demonstrations(folder / "base"), folder / "sft")
    return folder / "sft/model"


@pytest.mark.parametrize(
    ("engine", "more"), [("VLLMEngine", ()), ("VLLMServerEngine", ("--data.init_args.engine.launch=true",))]
)
def test_accuracy_rises(demonstrated: Path, tmp_path: Path, engine: str, more: tuple[str, ...]) -> None:
    config = learning(demonstrated)
    config["trainer"]["check_val_every_n_epoch"] = ITERATIONS // 2
    flags = (f"--data.init_args.engine={engine}", *more)
    lit_rlvr("rl", "fit", CONFIGS / "quickstart/rl.yaml", config, tmp_path, *flags)
    accuracy = history(tmp_path, "rollout/accuracy")
    (_, after) = history(tmp_path, "val/avg@8")
    before = sum(accuracy[:2]) / 2  # the first rollouts, of the supervised model: the embedded engine's bar is a validation
    assert 0.1 < before < 0.5
    assert after > before + 0.1
    lengths = history(tmp_path, "rollout/length")
    assert lengths[-1] > lengths[0] + 2
    assert max(history(tmp_path, "rollout/gap_max")) < 1e-3
