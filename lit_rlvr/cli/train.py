"""The training verbs: which module meets which data module."""

from importlib import import_module

ROOMS = ("objectives", "advantages", "rewards", "rollout", "data", "modules", "metrics", "callbacks", "tasks")
"""Imported before the configuration is read: a class that is loaded can be named by its short name (`objective: GPPO`)."""


def sft(args: list[str]) -> None:
    """Run `lit-rlvr sft fit|validate|test`."""
    _import_rooms()
    from lit_rlvr.cli.lightning_cli import TrainingCLI
    from lit_rlvr.data import SFTDataModule
    from lit_rlvr.modules import SFTModule

    TrainingCLI("sft", "Supervised fine-tuning.", SFTModule, SFTDataModule, args)


def rl(args: list[str]) -> None:
    """Run `lit-rlvr rl fit|validate|test`."""
    _import_rooms()
    from lit_rlvr.cli.lightning_cli import TrainingCLI
    from lit_rlvr.data import RolloutDataModule
    from lit_rlvr.modules import RLModule

    purpose = (
        "Reinforcement learning with verifiable rewards. One epoch of the Trainer is one RL iteration: sample, score, update."
    )
    TrainingCLI("rl", purpose, RLModule, RolloutDataModule, args)


def _import_rooms() -> None:
    for room in ROOMS:
        import_module(f"lit_rlvr.{room}")
