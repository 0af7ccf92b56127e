"""The quickstart on smaller numbers, for tests of what a tiny model learns."""

from pathlib import Path
from typing import Any

ITERATIONS = 12


def addition(kind: str, split: str, num: int, **settings: Any) -> dict[str, Any]:
    sizes = {"split": split, "num": num, "min_digits": 2, "max_digits": 2}
    return {"class_path": f"lit_rlvr.tasks.Addition{kind}", "init_args": sizes | settings}


def demonstrations(base: Path) -> dict[str, Any]:
    """The quickstart's supervised start, shortened: half of its demonstrations are terse."""
    return {
        "trainer": {"max_epochs": 4, "accumulate_grad_batches": 1, "enable_progress_bar": False},
        "model": {"init_args": {"policy": {"path": str(base)}, "lr_scheduler": {"init_args": {"total_steps": 188}}}},
        "data": {"init_args": {"train": addition("Conversations", "train", 3000, terse_share=0.5), "val": None}},
    }


def learning(policy: Path) -> dict[str, Any]:
    """The quickstart's settings, for two digits and a few iterations."""
    return {
        "trainer": {
            "max_epochs": ITERATIONS,
            "accumulate_grad_batches": 1,
            "check_val_every_n_epoch": ITERATIONS,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "callbacks": [],
        },
        "model": {
            "init_args": {
                "policy": {"path": str(policy)},
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
