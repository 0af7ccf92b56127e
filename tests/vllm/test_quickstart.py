"""The quickstart with vLLM in place of the embedded engine: one line of YAML, the same bar."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIGS = Path(__file__).parents[2] / "configs"
ITERATIONS = 12


def addition(kind: str, split: str, num: int, **settings: Any) -> dict[str, Any]:
    sizes = {"split": split, "num": num, "min_digits": 2, "max_digits": 2}
    return {"class_path": f"lit_rlvr.tasks.Addition{kind}", "init_args": sizes | settings}


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
    shorter = {
        "trainer": {"max_epochs": 4, "accumulate_grad_batches": 1, "enable_progress_bar": False},
        "model": {"init_args": {"policy": {"path": str(folder / "base")}, "lr_scheduler": {"init_args": {"total_steps": 188}}}},
        "data": {"init_args": {"train": addition("Conversations", "train", 3000, terse_share=0.5), "val": None}},
    }
    lit_rlvr("sft", "fit", CONFIGS / "quickstart/sft.yaml", shorter, folder / "sft")
    return folder / "sft/model"


@pytest.mark.parametrize(
    ("engine", "more"), [("VLLMEngine", ()), ("VLLMServerEngine", ("--data.init_args.engine.launch=true",))]
)
def test_accuracy_rises(demonstrated: Path, tmp_path: Path, engine: str, more: tuple[str, ...]) -> None:
    learning = {
        "trainer": {
            "max_epochs": ITERATIONS,
            "accumulate_grad_batches": 1,
            "check_val_every_n_epoch": ITERATIONS // 2,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "callbacks": [],
        },
        "model": {
            "init_args": {
                "policy": {"path": str(demonstrated)},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1.5e-4}},
                "lr_scheduler": None,
            }
        },
        "data": {
            "init_args": {
                "train": addition("Prompts", "train", 1000),
                "val": addition("Prompts", "validation", 96),
                "test": None,
                "sampling": {"max_tokens": 32},
                "iteration": {"num_prompts": 24},
                "evaluation": {"greedy": False},
            }
        },
    }
    flags = (f"--data.init_args.engine={engine}", *more)
    lit_rlvr("rl", "fit", CONFIGS / "quickstart/rl.yaml", learning, tmp_path, *flags)
    accuracy = history(tmp_path, "rollout/accuracy")
    (_, after) = history(tmp_path, "val/avg@8")
    before = sum(accuracy[:2]) / 2  # the first rollouts, of the supervised model: the embedded engine's bar is a validation
    assert 0.1 < before < 0.5
    assert after > before + 0.1
    lengths = history(tmp_path, "rollout/length")
    assert lengths[-1] > lengths[0] + 2
    assert max(history(tmp_path, "rollout/gap_max")) < 1e-3
