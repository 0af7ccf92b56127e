"""A small asynchronous RL run for the tests, also as a script for DDP: `python async_run.py MODEL OUT RANKS BOUNDS`."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback

sys.path.insert(0, str(Path(__file__).parent))
from rl_run import flat_weights, make_data, make_module, make_trainer

from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout_gap import GapBounds
from lit_rlvr.types import RolloutGroup


class Told:
    """Remembers the prompts and tokens of each stage and iteration, and in which thread it was told."""

    def __init__(self) -> None:
        self.prompts: dict[tuple[str, int], list[str]] = {}
        self.tokens: dict[tuple[str, int], list[tuple[int, ...]]] = {}
        self.threads: set[str] = set()

    def __call__(self, groups: Sequence[RolloutGroup], iteration: int, stage: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.prompts.setdefault((stage, iteration), []).extend(group.prompt.id for group in groups)
        tokens = [r.completion.token_ids for group in groups for r in group.rollouts]
        self.tokens.setdefault((stage, iteration), []).extend(tokens)


class History(Callback):
    """Remembers metrics of every iteration."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch > 0:
            self._remember(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._remember(trainer)

    def _remember(self, trainer: Any) -> None:
        self.rows.append(
            {name: float(trainer.callback_metrics[name]) for name in self.names if name in trainer.callback_metrics}
        )


def run(
    model: Path,
    asynchronous: AsyncConfig,
    ckpt_path: str | None = None,
    callbacks: Sequence[Callback] = (),
    engine: EmbeddedEngine | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, Told]:
    data = make_data(
        model,
        asynchronous=asynchronous,
        engine=engine or EmbeddedEngine(device="cpu"),
        # At this learning rate a policy is far from itself one iteration before.
        gap_bounds=GapBounds(None, None),
    )
    told = Told()
    data.rollout_observers.append(told)
    trainer = make_trainer(**{"max_epochs": 4, "check_val_every_n_epoch": 1, "callbacks": list(callbacks)} | settings)
    module = make_module(model)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return flat_weights(module), told


if __name__ == "__main__":
    model, out, ranks, bounds = sys.argv[1:]
    torch.set_num_threads(1)
    results = {}
    for staleness in map(int, bounds.split(",")):
        history = History("rollout/staleness_max")
        config = AsyncConfig(staleness, partial_rollouts=staleness > 1)
        weights, told = run(Path(model), config, callbacks=[history], devices=int(ranks), strategy="ddp")
        results[staleness] = {"weights": weights, "tokens": told.tokens, "history": history.rows}
    if dist.get_rank() == 0:
        torch.save(results, out)
    dist.destroy_process_group()
